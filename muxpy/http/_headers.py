"""The fields of a message, as users see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from muxpy.frame.http2 import NeverIndexed
from muxpy.proto.http2 import Malformed, check_fields, check_trailers

if TYPE_CHECKING:
    from muxpy.proto import Fields

__all__ = ["Headers", "HeadersLike", "as_bytes", "as_fields", "as_pairs", "trailer_fields"]

Text = str | bytes
HeadersLike = (
    Mapping[str, str] | Mapping[str, bytes] | Mapping[bytes, bytes] | Mapping[Text, Text] | Iterable[tuple[Text, Text]]
)
"""What is taken for fields: a mapping, or pairs of names and values. Text is sent as Latin-1."""

MOST_KEPT: Final = 256
MOST_KEPT_BYTES: Final = 1024
"""Bytes of all names and values of one head."""
_known: dict[tuple[tuple[Text, Text], ...], Fields] = {}
"""Fields that were found in order; most programs send the same ones again and again."""


class Headers(Mapping[str, str]):
    """The fields of a message: bytes underneath, in their order, repeats kept.

    As a mapping it ignores case, and joins the values of a repeated name by ", " (RFC 9110, 5.3), or by "; " for
    `cookie` (RFC 9113, 8.2.3). Use `get_all` for names such as `set-cookie`, whose values must not be joined.

    A proxy passes on these headers, or a part of `fields`: then values that their sender has marked as NeverIndexed
    stay so.
    """

    __slots__ = {  # `help` takes the text from there
        "fields": "As `raw`, but values that are not to be indexed on the way are NeverIndexed, which never equals "
        "plain bytes."
    }

    def __init__(self, fields: HeadersLike = ()) -> None:
        self.fields: Fields = as_pairs(fields)

    @classmethod
    def of(cls, fields: Fields) -> Headers:
        """Headers of fields that are in order."""
        self = cls.__new__(cls)
        self.fields = fields
        return self

    @property
    def raw(self) -> Fields:
        """The names, in lower case, and the values, as they are on the wire."""
        return tuple(
            (name, bytes(value)) if type(value) is NeverIndexed else (name, value) for name, value in self.fields
        )

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[0] if len(values) == 1 else ("; " if name.lower() == "cookie" else ", ").join(values)

    def get_all(self, name: str) -> list[str]:
        """The values of a name, in their order; none if it is not there."""
        wanted = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for key, value in self.fields if key == wanted]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self.fields))

    def __len__(self) -> int:
        return len({name for name, _ in self.fields})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self.raw == other.raw
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Headers({[(name.decode('latin-1'), value.decode('latin-1')) for name, value in self.fields]!r})"


def as_pairs(fields: HeadersLike) -> Fields:
    """Names in lower case and values, as bytes. Raises TypeError for anything else than text or bytes, and ValueError
    for text that is not Latin-1."""
    if isinstance(fields, Headers):
        return fields.fields
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return tuple(_pair(*pair) if len(pair) == 2 else _no_pair(pair) for pair in pairs)


def _pair(name: Text, value: Text) -> tuple[bytes, bytes]:
    return as_bytes(name).lower(), as_bytes(value)


def _no_pair(pair: object) -> NoReturn:
    raise ValueError(f"a field is a pair of a name and a value, not {pair!r}")


def as_bytes(text: Text) -> bytes:
    """Text as it is sent."""
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"this cannot be sent: {text!r} is not Latin-1; encode it first, as you mean it") from None
    raise TypeError(f"a field has a name and a value that are str or bytes, not {text!r}")


def as_fields(fields: HeadersLike) -> Fields:
    """The fields of a head to be sent. Raises ValueError for those that RFC 9113 forbids."""
    if isinstance(fields, Headers):
        return _checked(fields.fields)
    key = tuple(fields.items() if isinstance(fields, Mapping) else map(tuple, fields))
    if not key:
        return ()
    found = _known.get(key)
    if found is None:
        found = _checked(as_pairs(key))
        if is_small(found):
            if len(_known) >= MOST_KEPT:
                _known.clear()
            _known[key] = found
    return found


def is_small(fields: Fields) -> bool:
    """Whether fields may be kept, because they come again: a peer may have a say in what is in them, and how much."""
    return sum(len(name) + len(value) for name, value in fields) <= MOST_KEPT_BYTES


def _checked(pairs: Fields) -> Fields:
    try:
        check_fields(pairs)
    except Malformed as error:
        raise ValueError(f"this cannot be sent: {error}") from None
    return pairs


def trailer_fields(fields: HeadersLike) -> Fields:
    """The same for trailers."""
    pairs = as_pairs(fields)
    try:
        check_trailers(pairs)
    except Malformed as error:
        raise ValueError(f"this cannot be sent: {error}") from None
    return pairs

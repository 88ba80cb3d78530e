"""The fields of a message, as users see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from muxpy.proto.http2 import Malformed, check_fields, check_trailers

if TYPE_CHECKING:
    from muxpy.proto import Fields

__all__ = ["Headers", "HeadersLike", "as_fields", "trailer_fields"]

Text = str | bytes
HeadersLike = Mapping[str, str] | Mapping[bytes, bytes] | Mapping[Text, Text] | Iterable[tuple[Text, Text]]
"""What is taken for fields: a mapping, or pairs of names and values. Text is sent as Latin-1."""

MOST_KEPT: Final = 256
_known: dict[tuple[tuple[Text, Text], ...], Fields] = {}
"""Fields that were found in order; most programs send the same ones again and again."""


class Headers(Mapping[str, str]):
    """The fields of a message: bytes underneath, in their order, repeats kept.

    As a mapping it ignores case, and joins the values of a repeated name by ", " (RFC 9110, 5.3), or by "; " for
    `cookie` (RFC 9113, 8.2.3). Use `get_all` for names such as `set-cookie`, whose values must not be joined.
    """

    __slots__ = ("raw",)

    def __init__(self, fields: HeadersLike = ()) -> None:
        self.raw: Fields = as_pairs(fields)
        """The names, in lower case, and the values, as they are on the wire."""

    @classmethod
    def of(cls, fields: Fields) -> Headers:
        """Headers of fields that are in order."""
        self = cls.__new__(cls)
        self.raw = fields
        return self

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[0] if len(values) == 1 else ("; " if name.lower() == "cookie" else ", ").join(values)

    def get_all(self, name: str) -> list[str]:
        """The values of a name, in their order; none if it is not there."""
        wanted = name.lower().encode("latin-1", "replace")
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name for name, _ in self.raw})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Headers({[(name.decode('latin-1'), value.decode('latin-1')) for name, value in self.raw]!r})"


def as_pairs(fields: HeadersLike) -> Fields:
    """Names in lower case and values, as bytes. Raises TypeError for anything else than text or bytes."""
    if isinstance(fields, Headers):
        return fields.raw
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return tuple((_bytes(name).lower(), _bytes(value)) for name, value in pairs)


def _bytes(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode("latin-1")
    if isinstance(text, bytes):
        return text
    raise TypeError(f"a field has a name and a value that are str or bytes, not {text!r}")


def as_fields(fields: HeadersLike) -> Fields:
    """The fields of a head to be sent. Raises ValueError for those that RFC 9113 forbids."""
    if isinstance(fields, Headers):
        return _checked(fields.raw)
    key = tuple(fields.items() if isinstance(fields, Mapping) else fields)
    if not key:
        return ()
    found = _known.get(key)
    if found is None:
        found = _checked(as_pairs(key))
        if len(_known) >= MOST_KEPT:
            _known.clear()
        _known[key] = found
    return found


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

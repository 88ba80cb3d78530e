"""What a message begins and ends with: requests, responses and trailers, and which of them are well-formed.

Decoded fields are checked once, when their block is decoded (`Block.checked` keeps what comes of it). What is let
through here may be written into an HTTP/1 message by whoever stands behind: these checks are what keeps such a proxy
from being smuggled into (RFC 9113, 8.2 and 10.3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from muxpy.proto._core import Fields

__all__ = [
    "PRIORITIES",
    "Malformed",
    "RequestHead",
    "ResponseHead",
    "check_fields",
    "check_trailers",
    "parse_request",
    "parse_response",
    "parse_urgency",
]


class Malformed(Exception):
    """A message is malformed (RFC 9113, 8.1.1), for the reason that this says: its stream is reset."""


class RequestHead(NamedTuple):
    """What a request begins with."""

    method: bytes
    scheme: bytes
    """Empty for CONNECT."""
    authority: bytes
    """Host and port, of `:authority` or else of `host`; empty if there is neither."""
    path: bytes
    """With the query; empty for CONNECT."""
    protocol: bytes
    """Of an extended CONNECT (RFC 8441); otherwise empty."""
    fields: Fields
    """All fields but the pseudo ones, in their order."""
    content_length: int | None = None
    """Bytes of the body that the sender has announced."""
    expects_continue: bool = False
    """Whether the client waits for 100 (Continue) before it sends the body."""
    urgency: int = 3
    """0, the most urgent, to 7 (RFC 9218, 4.1)."""


class ResponseHead(NamedTuple):
    """What a response begins with; also an interim one (status 1xx)."""

    status: int
    fields: Fields
    content_length: int | None = None


# ---- urgency ----

DEFAULT_URGENCY: Final = 3

PRIORITIES: Final = (0x7F, 0x1F, 0x07, 0x01, 0, 0, 0, 0)
"""The priority of a stream by its urgency, 0 to 7: shares of 8, 6, 4, 2 and then 1 (`proto._scheduler.weight`). So
those that nobody waits for get less, and nobody starves."""

_URGENCY: Final = re.compile(rb"(?:^|,)[ \t]*u=([0-7])[ \t]*(?:;[^,]*)?(?=,|$)")


def parse_urgency(value: bytes) -> int:
    """The urgency in the value of a `priority` field; what cannot be understood is ignored (RFC 9218, 4 and 5)."""
    found = _URGENCY.findall(value)
    return int(found[-1]) if found else DEFAULT_URGENCY


# ---- names and values ----

CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
"""RFC 9113, 8.2.2: of HTTP/1's connections, and never of a message here."""

_SPECIAL: Final = CONNECTION_SPECIFIC | {b"te", b"content-length", b"host", b"expect", b"priority", b"trailer"}
_NOT_IN_TRAILERS: Final = CONNECTION_SPECIFIC | {b"te", b"content-length", b"host", b"trailer"}
"""RFC 9110, 6.5.1: fields that say how a message is framed or routed make no sense after it."""

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
"""A token of RFC 9110, 5.6.2, in lower case."""

# All values of a head are looked at together, joined by CR, which none may have: RFC 9113, 8.2.1.
_BAD_VALUE: Final = re.compile(rb"[\x00\n]|\r[ \t]|[ \t]\r")

_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
"""No blanks and no control characters: the request line of HTTP/1 is cut at these."""
_AUTHORITY: Final = re.compile(rb"[\x21-\x22\x24-\x2e\x30-\x3e\x41-\x7e\x80-\xff]*")
"""The same without `#`, `/`, `?` and `@`: no path, and no user information (RFC 9113, 8.3.1)."""
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*")
_STATUS: Final = re.compile(rb"[1-9][0-9][0-9]")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")

MOST_KNOWN: Final = 1024
MOST_KNOWN_SIZE: Final = 64
_ORDINARY: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control "
    b"content-disposition content-encoding content-language content-location content-range content-type cookie "
    b"date dnt etag expires from grpc-encoding grpc-timeout if-match if-modified-since if-none-match if-range "
    b"if-unmodified-since last-modified link location max-forwards origin pragma proxy-authenticate "
    b"proxy-authorization range referer refresh retry-after sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform "
    b"sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user server set-cookie strict-transport-security "
    b"upgrade-insecure-requests user-agent vary via www-authenticate x-forwarded-for x-forwarded-host "
    b"x-forwarded-proto x-request-id".split()
)
_plain_names: set[bytes] = set(_ORDINARY)
"""Names that are in order, and of which nothing more is to be asked: a bounded cache for the process. Ordinary ones
always stay, so that a peer that thinks up names slows down nobody."""


def _shown(text: bytes) -> str:
    """For a person: never more than a line."""
    return repr(text[:40].decode("latin-1"))


def _check_name(name: bytes) -> None:
    if name[:1] == b":":
        raise Malformed(f"the pseudo field {_shown(name)} is unknown, repeated, or stands after other fields")
    if _NAME.fullmatch(name) is None:
        raise Malformed(f"{_shown(name)} is no name of a field in lower case")
    if name not in _SPECIAL and len(name) <= MOST_KNOWN_SIZE:
        if len(_plain_names) >= MOST_KNOWN:
            _plain_names.intersection_update(_ORDINARY)
        _plain_names.add(name)


def _check_values(fields: Fields) -> None:
    values = b"\r".join([value for _, value in fields])
    if values.count(b"\r") >= len(fields) > 0 or _BAD_VALUE.search(b"\r%b\r" % values) is not None:
        name = next(name for name, value in fields if b"\r" in value or _BAD_VALUE.search(b"\r%b\r" % value))
        raise Malformed(f"the value of {_shown(name)} has a line break or a NUL, or a blank at one of its ends")


def _parse_length(value: bytes, before: int | None) -> int:
    if _DIGITS.fullmatch(value) is None:
        raise Malformed(f"the content-length is {_shown(value)}, which is no number of bytes")
    length = int(value)
    if before is not None and length != before:
        raise Malformed("content-length has two values")
    return length


def _check_special(name: bytes, value: bytes) -> None:
    if name in CONNECTION_SPECIFIC:
        raise Malformed(f"{_shown(name)} has no meaning in HTTP/2")
    if name == b"te" and value.lower() != b"trailers":
        raise Malformed("'te' may only be 'trailers'")


# ---- requests ----


def _take_pseudo(fields: Fields, known: tuple[bytes, ...]) -> tuple[dict[bytes, bytes], Fields]:
    """The pseudo fields, and the fields after them."""
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in known or name in pseudo:
            raise Malformed(f"the pseudo field {_shown(name)} is repeated, or not one of this message")
        pseudo[name] = value
        count += 1
    return pseudo, fields[count:]


_OF_REQUESTS: Final = (b":method", b":scheme", b":authority", b":path", b":protocol")


def parse_request(fields: Fields) -> RequestHead:
    """The head of a request. Raises Malformed if it is not in order."""
    _check_values(fields)
    pseudo, rest = _take_pseudo(fields, _OF_REQUESTS)
    host = length = None
    expects, urgency = False, DEFAULT_URGENCY
    for name, value in rest:
        if name in _plain_names:
            continue
        _check_name(name)
        _check_special(name, value)
        if name == b"content-length":
            length = _parse_length(value, length)
        elif name == b"host":
            if host is not None:
                raise Malformed("host is repeated")
            host = value
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
        elif name == b"priority":
            urgency = parse_urgency(value)
    authority = _authority(pseudo.get(b":authority"), host)
    method = pseudo.get(b":method", b"")
    if _METHOD.fullmatch(method) is None:
        raise Malformed(":method is missing or is no word such as GET")
    scheme, path, protocol = pseudo.get(b":scheme"), pseudo.get(b":path"), pseudo.get(b":protocol")
    if method == b"CONNECT" and protocol is None:
        if scheme is not None or path is not None or b":authority" not in pseudo:
            raise Malformed("CONNECT has an :authority, and neither a :scheme nor a :path")
        return RequestHead(method, b"", authority, b"", b"", rest, length, expects, urgency)
    if scheme is None or _SCHEME.fullmatch(scheme) is None:
        raise Malformed(":scheme is missing or is none")
    if path is None or _TARGET.fullmatch(path) is None or not _begins_well(path, method):
        raise Malformed(":path is missing, does not begin with /, or has blanks")
    if protocol is not None and (method != b"CONNECT" or not authority or _METHOD.fullmatch(protocol) is None):
        raise Malformed(":protocol is no token, or the method is not CONNECT")
    return RequestHead(method, scheme, authority, path, protocol or b"", rest, length, expects, urgency)


def _begins_well(path: bytes, method: bytes) -> bool:
    return path[:1] == b"/" or (path == b"*" and method == b"OPTIONS")


def _authority(authority: bytes | None, host: bytes | None) -> bytes:
    if authority is not None and (not authority or _AUTHORITY.fullmatch(authority) is None):
        raise Malformed(":authority is no host and port")
    if host is not None and _AUTHORITY.fullmatch(host) is None:
        raise Malformed("host is no host and port")
    if authority is not None and host is not None and host.lower() != authority.lower():
        raise Malformed("host differs from :authority")
    return authority or host or b""


# ---- responses and trailers ----


def _check_regular(fields: Fields) -> int | None:
    """Check the names of fields that are no pseudo ones, and what the special ones say; the content-length, if any."""
    length = None
    for name, value in fields:
        if name in _plain_names:
            continue
        _check_name(name)
        _check_special(name, value)
        if name == b"content-length":
            length = _parse_length(value, length)
    return length


def parse_response(fields: Fields) -> ResponseHead:
    """The head of a response, which may be an interim one. Raises Malformed if it is not in order."""
    _check_values(fields)
    pseudo, rest = _take_pseudo(fields, (b":status",))
    status = pseudo.get(b":status", b"")
    if _STATUS.fullmatch(status) is None or status == b"101":
        raise Malformed(f"the status is {_shown(status)}")
    return ResponseHead(int(status), rest, _check_regular(rest))


def check_fields(fields: Fields) -> None:
    """Raise Malformed if the fields cannot be those of a head, beside the pseudo ones."""
    _check_values(fields)
    _check_regular(fields)


def check_trailers(fields: Fields) -> None:
    """Raise Malformed if the fields cannot stand after a body."""
    _check_values(fields)
    for name, _ in fields:
        if name in _plain_names:
            continue
        _check_name(name)
        if name in _NOT_IN_TRAILERS:
            raise Malformed(f"{_shown(name)} cannot stand among the trailers")

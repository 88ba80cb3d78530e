"""The bodies of frames: how long each must be, and what is in them.

All are judged by their form alone; ids and values are the business of the rules. Where RFC 9113 wants no more than the
stream to end, as for the length of a PRIORITY, the caller makes that of the error.
"""

from struct import Struct
from typing import Final

from muxpy._codes import ProtocolError

from ._codes import ErrorCode as Http2Code
from ._header import (
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    MASK_31,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    TYPE_NAMES,
    WINDOW_UPDATE,
)

U32: Final = Struct(">I")
SETTING: Final = Struct(">HI")
GOAWAY_FIXED: Final = Struct(">II")
PRIORITY_FIXED: Final = Struct(">IB")

Priority = tuple[int, int, bool]
"""The stream that one depends on, the weight from 1 to 256, and whether it alone does: RFC 7540's, obsolete."""


def parse_settings(body: bytes) -> list[tuple[int, int]]:
    """The ids and values of a SETTINGS, in the order in which they take effect; an id may come again."""
    if len(body) % SETTING.size:
        raise wrong_size(SETTINGS, len(body), "a multiple of 6")
    return list(SETTING.iter_unpack(body))


def parse_rst_stream(body: bytes) -> int:
    """The error code of an RST_STREAM."""
    if len(body) != 4:
        raise wrong_size(RST_STREAM, len(body), "4")
    return int.from_bytes(body, "big")


def parse_window_update(body: bytes) -> int:
    """The increment of a WINDOW_UPDATE, in bytes; 31 bits, and 0 is for the rules to refuse."""
    if len(body) != 4:
        raise wrong_size(WINDOW_UPDATE, len(body), "4")
    return int.from_bytes(body, "big") & MASK_31


def parse_ping(body: bytes) -> bytes:
    """The eight bytes that the answer to a PING must carry."""
    if len(body) != 8:
        raise wrong_size(PING, len(body), "8")
    return body


def parse_goaway(body: bytes) -> tuple[int, int, bytes]:
    """The id of the last stream that its sender may have handled, the error code and the debug bytes of a GOAWAY."""
    if len(body) < GOAWAY_FIXED.size:
        raise wrong_size(GOAWAY, len(body), "at least 8")
    last_id, code = GOAWAY_FIXED.unpack_from(body)
    return last_id & MASK_31, code, body[GOAWAY_FIXED.size :]


def parse_priority(body: bytes) -> Priority:
    """What a PRIORITY says."""
    if len(body) != PRIORITY_FIXED.size:
        raise wrong_size(PRIORITY, len(body), "5")
    return _priority(body)


def parse_priority_update(body: bytes) -> tuple[int, bytes]:
    """The stream that a PRIORITY_UPDATE is about, and its new `priority` field value (RFC 9218, 7.1)."""
    if len(body) < 4:
        raise wrong_size(PRIORITY_UPDATE, len(body), "at least 4")
    return int.from_bytes(body[:4], "big") & MASK_31, body[4:]


def parse_headers(flags: int, body: bytes) -> tuple[bytes, Priority | None]:
    """The part of a header block that a HEADERS carries, without padding, and its priority if it has one."""
    fixed = PRIORITY_FIXED.size if flags & HAS_PRIORITY else 0
    if flags & PADDED:
        body = strip_padding(HEADERS, body, fixed)
    if not fixed:
        return body, None
    if len(body) < fixed:
        raise wrong_size(HEADERS, len(body), "at least 5, as it says that it has a priority")
    return body[PRIORITY_FIXED.size :], _priority(body)


def parse_push_promise(flags: int, body: bytes) -> tuple[int, bytes]:
    """The id that a PUSH_PROMISE reserves, and the part of a header block that it carries, without padding."""
    if flags & PADDED:
        body = strip_padding(PUSH_PROMISE, body, 4)
    if len(body) < 4:
        raise wrong_size(PUSH_PROMISE, len(body), "at least 4")
    return int.from_bytes(body[:4], "big") & MASK_31, body[4:]


def strip_padding(kind: int, body: bytes, fixed: int = 0) -> bytes:
    """The body of a whole frame with PADDED set, without the padding and its length. Padding must leave
    `fixed` bytes, with which the body begins (RFC 9113, 6.2)."""
    if len(body) <= fixed:
        raise wrong_size(kind, len(body), f"at least {1 + fixed}, as it says that it is padded")
    check_padding(kind, body[0], len(body), fixed)
    return body[1 : len(body) - body[0]]


def check_padding(kind: int, padding: int, length: int, fixed: int = 0) -> None:
    """Raise ProtocolError if padding fills a payload of this length, or more than that (RFC 9113, 6.1); `fixed` bytes
    must be left."""
    if padding + fixed >= length:
        raise ProtocolError(
            Http2Code.PROTOCOL_ERROR, f"{TYPE_NAMES[kind]} has {padding} bytes of padding in a payload of {length}"
        )


def wrong_size(kind: int, length: int, right: str) -> ProtocolError:
    """The error of a frame whose length does not fit its type."""
    name = TYPE_NAMES.get(kind, f"a frame of type {kind}")
    return ProtocolError(Http2Code.FRAME_SIZE_ERROR, f"{name} has a length of {length}; it must be {right}")


def _priority(body: bytes) -> Priority:
    dependency, weight = PRIORITY_FIXED.unpack_from(body)
    return dependency & MASK_31, weight + 1, dependency > MASK_31

"""Frames and header blocks of HTTP/2 as an attacker writes them: whatever is asked for, right or wrong."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, Final

from tests.frame.http2.wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BEGIN",
    "GET",
    "POST",
    "PREFACE",
    "block",
    "continuation",
    "data",
    "field",
    "frame_of_data",
    "goaway",
    "head",
    "headers",
    "integer",
    "ping",
    "priority",
    "priority_update",
    "push_promise",
    "request",
    "rst",
    "settings",
    "settings_ack",
    "window_update",
]

Field = tuple[bytes, bytes]


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, stream_id, payload, flags=END_STREAM if end else 0)


def frame_of_data(stream_id: int, body: bytes, *, padded: bool) -> bytes:
    """DATA as it is on the wire, with the length of its padding and the padding in `body`."""
    return frame(DATA, stream_id, body, flags=PADDED if padded else 0)


def headers(stream_id: int, encoded: bytes, *, end: bool = False, whole: bool = True) -> bytes:
    """HEADERS; `whole`: the block ends with it."""
    return frame(HEADERS, stream_id, encoded, flags=(END_STREAM if end else 0) | (END_HEADERS if whole else 0))


def continuation(stream_id: int, encoded: bytes = b"", *, whole: bool = False) -> bytes:
    return frame(CONTINUATION, stream_id, encoded, flags=END_HEADERS if whole else 0)


def rst(stream_id: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, stream_id, pack(">I", code))


def settings(*entries: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, b"".join(pack(">HI", *entry) for entry in entries))


def settings_ack() -> bytes:
    return frame(SETTINGS, 0, flags=ACK)


def ping(payload: bytes = bytes(8), *, ack: bool = False) -> bytes:
    return frame(PING, 0, payload, flags=ACK if ack else 0)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream_id, pack(">I", increment))


def goaway(last_id: int, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, pack(">II", last_id, code) + debug)


def priority(stream_id: int, body: bytes) -> bytes:
    return frame(PRIORITY, stream_id, body)


def priority_update(about: int, value: bytes) -> bytes:
    return frame(PRIORITY_UPDATE, 0, pack(">I", about) + value)


def push_promise(stream_id: int, promised: int, encoded: bytes) -> bytes:
    return frame(PUSH_PROMISE, stream_id, pack(">I", promised) + encoded, flags=END_HEADERS)


# ---- header blocks, without Huffman code and tables unless they are asked for ----


def integer(value: int, bits: int, pattern: int = 0) -> bytes:
    """RFC 7541, 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((pattern | value,))
    octets = bytearray((pattern | most,))
    value -= most
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes((*octets, value))


def field(name: bytes, value: bytes, pattern: int = 0) -> bytes:
    """A literal; with `pattern` 0x40 it is put into the table."""
    return bytes((pattern,)) + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(fields: Iterable[Field]) -> bytes:
    return b"".join(field(*each) for each in fields)


def head(path: str, *more: Field, method: str = "GET") -> list[Field]:
    """The fields of a request."""
    return [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", b"here"),
        (b":path", path.encode()),
        *more,
    ]


def request(stream_id: int, path: str, *more: Field, method: str = "GET", end: bool = False) -> bytes:
    """HEADERS with the head of a request."""
    return headers(stream_id, block(head(path, *more, method=method)), end=end)


GET: Final = bytes((0x82, 0x86, 0x84)) + field(b":authority", b"here")
POST: Final = bytes((0x83, 0x86, 0x84)) + field(b":authority", b"here")
"""The shortest ones, for `/`."""

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BEGIN: Final = PREFACE + settings()
"""What a client says first."""

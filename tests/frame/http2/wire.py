"""HTTP/2 frames written by hand: what the tests compare the library's bytes with. Takes nothing from the library."""

from typing import NamedTuple

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x01, 0x01, 0x04, 0x08, 0x20
PROTOCOL_ERROR, FRAME_SIZE_ERROR = 1, 6


class Frame(NamedTuple):
    """One frame as the wire has it; of DATA the body is without padding, and `padding` counts its length too."""

    kind: int
    flags: int
    stream_id: int
    body: bytes
    padding: int = 0


def frame(kind: int, stream_id: int, body: bytes = b"", *, flags: int = 0, length: int | None = None) -> bytes:
    """A frame of any kind; `length` for one that lies about it."""
    size = len(body) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + body


def padded(kind: int, stream_id: int, body: bytes, padding: int, *, flags: int = 0) -> bytes:
    """A frame with so many bytes of padding."""
    return frame(kind, stream_id, bytes([padding]) + body + bytes(padding), flags=flags | PADDED)

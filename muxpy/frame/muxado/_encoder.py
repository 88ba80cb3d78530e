"""Frames to bytes. Of DATA only the header is made: the payload goes to the transport as it is, without a copy."""

from ._frames import GOAWAY_FIXED, U32
from ._header import (
    DATA,
    EXACT_LENGTH,
    FIN,
    FLAGS_AT,
    GOAWAY,
    HAS_PRIORITY,
    HAS_TYPE,
    HEADER,
    MAX_PAYLOAD,
    RST,
    SYN,
    WND_INC,
)


def encode_syn(stream_id: int, priority: int = 0, stream_type: int = 0, *, fin: bool = False) -> bytes:
    """STREAM_SYN. A priority or type of 0 is the default and is left out, as the Go peer does."""
    flags = FIN if fin else 0
    body = b""
    if priority:
        flags |= HAS_PRIORITY
        body += U32.pack(priority)
    if stream_type:
        flags |= HAS_TYPE
        body += U32.pack(stream_type)
    return HEADER.pack(len(body), flags, SYN, stream_id) + body


def encode_rst(stream_id: int, code: int) -> bytes:
    """STREAM_RST."""
    return HEADER.pack(4, 0, RST, stream_id) + U32.pack(code)


def encode_wnd_inc(stream_id: int, increment: int) -> bytes:
    """STREAM_WND_INC; `increment` in bytes."""
    return HEADER.pack(4, 0, WND_INC, stream_id) + U32.pack(increment)


def encode_data_header(stream_id: int, length: int, fin: bool = False) -> bytes:
    """The header of a STREAM_DATA frame whose payload of `length` bytes follows."""
    return HEADER.pack(length, FIN if fin else 0, DATA, stream_id)


def set_fin(frames: bytearray, start: int) -> None:
    """Set FIN in the frame that starts there."""
    frames[start + FLAGS_AT] |= FIN


def encode_goaway(last_id: int, code: int, debug: bytes = b"") -> bytes:
    """GOAWAY, with the flag that says that its length is right. Debug text that does not fit is cut off."""
    body = (GOAWAY_FIXED.pack(last_id, code) + debug)[:MAX_PAYLOAD]
    return HEADER.pack(len(body), EXACT_LENGTH, GOAWAY, 0) + body

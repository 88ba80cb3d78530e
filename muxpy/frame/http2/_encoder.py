"""Frames to bytes. Of DATA only the header is made: the payload goes to the transport as it is, without a copy."""

from collections.abc import Mapping
from typing import Final

from ._frames import GOAWAY_FIXED, SETTING, U32
from ._header import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_MAX_FRAME_SIZE,
    END_HEADERS,
    END_STREAM,
    FLAGS_AT,
    GOAWAY,
    HEADER,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

_pack: Final = HEADER.pack


def encode_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The header of a frame whose payload of `length` bytes follows."""
    return _pack(length << 8 | kind, flags, stream_id)


def encode_data_header(stream_id: int, size: int, end: bool = False) -> bytes:
    """The header of a DATA frame whose payload of `size` bytes follows, unpadded. `end`: nothing comes after it."""
    return _pack(size << 8 | DATA, END_STREAM if end else 0, stream_id)


def set_end_stream(frames: bytearray, start: int) -> None:
    """Set END_STREAM in the frame that starts there: DATA or HEADERS."""
    frames[start + FLAGS_AT] |= END_STREAM


def encode_rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return _pack(4 << 8 | RST_STREAM, 0, stream_id) + U32.pack(code)


def encode_window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; `increment` in bytes. Stream 0 is the connection."""
    return _pack(4 << 8 | WINDOW_UPDATE, 0, stream_id) + U32.pack(increment)


def encode_settings(settings: Mapping[int, int]) -> bytes:
    """SETTINGS with these values, by their ids."""
    body = b"".join([SETTING.pack(*item) for item in settings.items()])
    return _pack(len(body) << 8 | SETTINGS, 0, 0) + body


SETTINGS_ACK: Final = encode_header(0, SETTINGS, ACK, 0)
"""The answer to the peer's SETTINGS."""


def encode_ping(data: bytes, ack: bool = False) -> bytes:
    """PING with eight bytes of data; `ack`: the answer to one."""
    return _pack(8 << 8 | PING, ACK if ack else 0, 0) + data


def encode_goaway(last_id: int, code: int, debug: bytes = b"") -> bytes:
    """GOAWAY. Debug text that does not fit into a frame that every peer takes is cut off."""
    body = (GOAWAY_FIXED.pack(last_id, code) + debug)[:DEFAULT_MAX_FRAME_SIZE]
    return _pack(len(body) << 8 | GOAWAY, 0, 0) + body


def encode_headers(
    stream_id: int, block: bytes, end: bool = False, max_frame_size: int = DEFAULT_MAX_FRAME_SIZE
) -> bytes:
    """HEADERS with a header block, and the CONTINUATIONs that it takes; one string, as nothing may come in between.

    `end`: nothing comes after it. `max_frame_size`: the payload that the peer takes, in bytes.
    """
    flags = END_STREAM if end else 0
    if len(block) <= max_frame_size:
        return _pack(len(block) << 8 | HEADERS, flags | END_HEADERS, stream_id) + block
    return _split(HEADERS, flags, stream_id, block, max_frame_size)


def encode_push_promise(
    stream_id: int, promised_id: int, block: bytes, max_frame_size: int = DEFAULT_MAX_FRAME_SIZE
) -> bytes:
    """PUSH_PROMISE on the stream that it belongs to, and the CONTINUATIONs that its header block takes."""
    return _split(PUSH_PROMISE, 0, stream_id, U32.pack(promised_id) + block, max_frame_size)


def _split(kind: int, flags: int, stream_id: int, body: bytes, max_frame_size: int) -> bytes:
    frames = []
    last = max(len(body) - 1, 0) // max_frame_size * max_frame_size
    for start in range(0, last + 1, max_frame_size):
        part = body[start : start + max_frame_size]
        flags |= END_HEADERS if start == last else 0
        frames += [_pack(len(part) << 8 | kind, flags, stream_id), part]
        kind, flags = CONTINUATION, 0
    return b"".join(frames)

"""The bytes of a small protocol in the spirit of HTTP/2. A frame is a length, a kind, a stream's id (0 for the
connection), and then:

    OPEN      priority, stream type, whether the opener ends its direction, and its head
    HEAD      the head of the other side
    DATA      bytes
    LAST      bytes, and the direction ends
    END       trailers; the direction ends
    RESET     a code
    WINDOW    an increment, of the stream or of the connection
    SETTINGS  what its sender takes: see `Settings`
    ACK       the oldest settings that were not acknowledged yet hold from here on
    GOAWAY    the last stream that was taken, a code, and a text
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, error
from typing import TYPE_CHECKING, Final, NamedTuple

from muxpy import ErrorCode, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from muxpy.frame import Buffer
    from muxpy.proto import Fields

__all__ = ["FIRST", "HEADER", "Decoder", "Framing", "Kind", "Settings", "fields_in", "frame", "packed", "unpack"]

HEADER: Final = Struct("!IBI")
KIND_AT: Final = 4
NOTHING: Final = Struct("")

MAX_CONTROL: Final = 16_384
"""Bytes of a frame that is no DATA."""


class Kind(IntEnum):
    OPEN = 1
    HEAD = 2
    DATA = 3
    END = 4
    RESET = 5
    WINDOW = 6
    SETTINGS = 7
    ACK = 8
    GOAWAY = 9
    LAST = 10


DATA: Final = (Kind.DATA, Kind.LAST)

LAYOUTS: Final = {
    Kind.OPEN: Struct("!II?"),
    Kind.RESET: Struct("!I"),
    Kind.WINDOW: Struct("!I"),
    Kind.SETTINGS: Struct("!III"),
    Kind.GOAWAY: Struct("!II"),
}


class Settings(NamedTuple):
    """What one side takes: streams of the peer's, bytes of a stream before the first WINDOW, and of a DATA frame."""

    streams: int
    window: int = 65_536
    frame: int = 1_000


FIRST: Final = Settings(streams=0)
"""What holds until the peer has said something."""


def frame(kind: Kind, stream_id: int = 0, *numbers: int, rest: bytes = b"") -> bytes:
    """One frame: numbers as `LAYOUTS` has them, then what has no fixed size."""
    body = LAYOUTS.get(kind, NOTHING).pack(*numbers) + rest
    return HEADER.pack(len(body), kind, stream_id) + body


def unpack(kind: Kind, body: memoryview) -> tuple[tuple[int, ...], bytes]:
    """The numbers of a frame and the rest. Raises ProtocolError if it is too short."""
    layout = LAYOUTS.get(kind, NOTHING)
    try:
        return layout.unpack_from(body), bytes(body[layout.size :])
    except error:
        raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"{kind.name} of {len(body)} bytes") from None


def packed(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A head or trailers."""
    return b"".join(len(part).to_bytes(2, "big") + part for field in fields for part in field)


def fields_in(block: bytes) -> Fields:
    """The other way round."""
    parts = []
    while block:
        size = int.from_bytes(block[:2], "big")
        parts.append(block[2 : 2 + size])
        block = block[2 + size :]
    return tuple(zip(parts[::2], parts[1::2], strict=True))


class Framing:
    """What the shared parts ask."""

    header_size: Final = HEADER.size

    def __init__(self) -> None:
        self.max_payload = FIRST.frame

    def data_header(self, stream_id: int, size: int, end: bool = False, /) -> bytes:
        return HEADER.pack(size, Kind.LAST if end else Kind.DATA, stream_id)

    def set_end(self, frames: bytearray, start: int, /) -> None:
        frames[start + KIND_AT] = Kind.LAST

    def reset(self, stream_id: int, code: int, /) -> bytes:
        return frame(Kind.RESET, stream_id, code)

    def window_update(self, stream_id: int, increment: int, /) -> bytes:
        return frame(Kind.WINDOW, stream_id, increment)


class Decoder:
    """Cuts what arrives into whole frames."""

    def __init__(self) -> None:
        self.max_data = FIRST.frame
        self.rest: Buffer = b""  # of the last read, not cut yet
        self.partial = b""  # the begin of a frame

    def feed(self, data: Buffer) -> Iterator[tuple[Kind, int, memoryview]]:
        """Kind, stream and body of each frame. Whoever stops early has the others in `rest`."""
        rest = memoryview(self.partial + data)
        self.partial = b""
        while len(rest) >= HEADER.size:
            size, kind, stream_id = HEADER.unpack_from(rest)
            if not 0 < kind <= len(Kind) or size > (self.max_data if kind in DATA else MAX_CONTROL):
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of kind {kind} and {size} bytes")
            if len(rest) < HEADER.size + size:
                break
            body, rest = rest[HEADER.size : HEADER.size + size], rest[HEADER.size + size :]
            self.rest = rest
            yield Kind(kind), stream_id, body
        self.partial = bytes(rest)

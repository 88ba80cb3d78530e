"""Frames written by hand: what the tests compare the library's bytes with. Takes nothing from the library."""

from struct import Struct
from typing import NamedTuple

HEADER = Struct(">HBBI")
SYN, RST, DATA, WND_INC, GOAWAY = 1, 2, 3, 4, 6
FIN, PRIORITY, TYPE, EXACT = 0x01, 0x02, 0x04, 0x80
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 4, 5, 6, 7
WINDOW = 65536
EXTENSION = 0xFFFFFEFF


class Frame(NamedTuple):
    """One frame as the wire has it."""

    kind: int
    flags: int
    stream_id: int
    body: bytes

    @property
    def number(self) -> int:
        """The code of an RST, the increment of a WND_INC."""
        return int.from_bytes(self.body, "big")


def u32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def frame(kind: int, stream_id: int, body: bytes = b"", *, flags: int = 0, length: int | None = None) -> bytes:
    """A frame of any kind; `length` for one that lies about it."""
    return HEADER.pack(len(body) if length is None else length, flags, kind, stream_id) + body


def syn(stream_id: int, *, priority: int | None = None, stream_type: int | None = None, fin: bool = False) -> bytes:
    flags = FIN * fin | PRIORITY * (priority is not None) | TYPE * (stream_type is not None)
    fields = [field for field in (priority, stream_type) if field is not None]
    return frame(SYN, stream_id, u32(*fields), flags=flags)


def data(stream_id: int, payload: bytes = b"", *, fin: bool = False) -> bytes:
    return frame(DATA, stream_id, payload, flags=FIN * fin)


def rst(stream_id: int, code: int) -> bytes:
    return frame(RST, stream_id, u32(code))


def wnd_inc(stream_id: int, increment: int) -> bytes:
    return frame(WND_INC, stream_id, u32(increment))


def goaway(last_id: int, code: int = NO_ERROR, debug: bytes = b"") -> bytes:
    """As muxpy writes it, with the flag that says its length is right."""
    return frame(GOAWAY, 0, u32(last_id, code) + debug, flags=EXACT)


def go_peers_goaway(last_id: int, code: int = NO_ERROR, debug_length: int = 0) -> bytes:
    """As the Go peer writes it: a length of 16 + len(debug), and 8 bytes."""
    return frame(GOAWAY, 0, u32(last_id, code), length=16 + debug_length)


def split(wire: bytes) -> list[Frame]:
    """The frames of a byte string that holds whole frames with right lengths."""
    frames = []
    while wire:
        length, flags, kind, stream_id = HEADER.unpack_from(wire)
        assert length <= 0x3FFF
        assert len(wire) >= HEADER.size + length
        frames.append(Frame(kind, flags, stream_id, wire[HEADER.size : HEADER.size + length]))
        wire = wire[HEADER.size + length :]
    return frames

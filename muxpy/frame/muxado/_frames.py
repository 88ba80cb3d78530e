"""The bodies of control frames: how long each must be, and what is in them.

GOAWAY has a quirk. The Go peer announces a length of 16 + len(debug), but writes only the 8 fixed bytes and never
the debug text. muxpy sets the flag EXACT_LENGTH on its own GOAWAYs (the Go peer ignores that flag), and reads
a GOAWAY of length 16 or more *without* the flag as one of exactly the 8 fixed bytes.
"""

from struct import Struct
from typing import Final

from muxpy._codes import ErrorCode, ProtocolError
from muxpy.frame import Buffer

from ._header import EXACT_LENGTH, GOAWAY, HAS_PRIORITY, HAS_TYPE, MASK_31, RST, SYN, TYPE_NAMES, WND_INC

U32: Final = Struct(">I")
GOAWAY_FIXED: Final = Struct(">II")
GO_MIN_LENGTH: Final = 16
"""The smallest length that the Go peer gives a GOAWAY: it counts the header and the fixed bytes together."""


def body_size(kind: int, flags: int, length: int) -> int:
    """How many bytes follow the header of a control frame. Raises ProtocolError for a length that the type forbids."""
    if kind in (WND_INC, RST):
        _require(kind, length, 4)
    elif kind == SYN:
        _require(kind, length, 4 * bool(flags & HAS_PRIORITY) + 4 * bool(flags & HAS_TYPE))
    elif kind == GOAWAY:
        if length < GOAWAY_FIXED.size:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY has a length of {length}; the minimum is 8")
        if length >= GO_MIN_LENGTH and not flags & EXACT_LENGTH:
            return GOAWAY_FIXED.size
    else:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"illegal frame type {kind}")
    return length


def _require(kind: int, length: int, right: int) -> None:
    if length != right:
        raise ProtocolError(
            ErrorCode.FRAME_SIZE_ERROR, f"{TYPE_NAMES[kind]} has a length of {length}; it must be {right}"
        )


def parse_syn(flags: int, body: Buffer) -> tuple[int, int]:
    """The priority and the stream type of a SYN; 0 for each that its flags leave out."""
    priority = U32.unpack_from(body)[0] & MASK_31 if flags & HAS_PRIORITY else 0
    stream_type = U32.unpack_from(body, 4 * bool(flags & HAS_PRIORITY))[0] if flags & HAS_TYPE else 0
    return priority, stream_type


def parse_code(body: Buffer) -> int:
    """The error code of an RST."""
    code: int = U32.unpack_from(body)[0]
    return code


def parse_increment(body: Buffer) -> int:
    """The increment of a WND_INC, in bytes; 31 bits."""
    increment: int = U32.unpack_from(body)[0] & MASK_31
    return increment


def parse_goaway(body: Buffer) -> tuple[int, int, bytes]:
    """The id of the last stream that its sender handled, the error code and the debug bytes of a GOAWAY."""
    last_id, code = GOAWAY_FIXED.unpack_from(body)
    return last_id & MASK_31, code, bytes(body[GOAWAY_FIXED.size :])

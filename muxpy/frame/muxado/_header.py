"""The eight bytes in front of every frame: layout, masks, types and flags.

    byte    0-1       2       3      4-7
          length    flags   type   stream id          big endian

The two top bits of the length, the three top bits of the type and the top bit of the id are reserved:
sent as 0, ignored on receipt.
"""

from struct import Struct
from typing import Final

HEADER: Final = Struct(">HBBI")
HEADER_SIZE: Final = HEADER.size
FLAGS_AT: Final = 2

LENGTH_MASK: Final = 0x3FFF
TYPE_MASK: Final = 0x1F
MASK_31: Final = 0x7FFFFFFF
"""Ids, priorities and window increments all have 31 bits."""

MAX_PAYLOAD: Final = LENGTH_MASK
"""The most bytes that one DATA frame carries: the length has 14 bits."""
MAX_ID: Final = MASK_31
MAX_PRIORITY: Final = MASK_31
MAX_STREAM_TYPE: Final = 0xFFFFFFFF
MAX_WINDOW: Final = MASK_31
"""The most bytes that a window may allow, 2^31-1: a WND_INC past that is an error."""

# Frame types. Plain integers, not an enum: the decoder compares one for every frame.
SYN: Final = 1
RST: Final = 2
DATA: Final = 3
WND_INC: Final = 4
GOAWAY: Final = 6
TYPE_NAMES: Final = {
    SYN: "STREAM_SYN",
    RST: "STREAM_RST",
    DATA: "STREAM_DATA",
    WND_INC: "STREAM_WND_INC",
    GOAWAY: "GOAWAY",
}

# Flags.
FIN: Final = 0x01
"""On SYN and DATA: the sender will send nothing more on this stream."""
HAS_PRIORITY: Final = 0x02
"""On SYN: four bytes of priority follow."""
HAS_TYPE: Final = 0x04
"""On SYN: four bytes of stream type follow (after the priority)."""
EXACT_LENGTH: Final = 0x80
"""On GOAWAY: the length is right. The Go peer announces 16 + len(debug) and writes 8 bytes: see `_frames`."""

MIN_EXTENSION_TYPE: Final = 0xFFFFFFFF - 0x100
"""Streams of this type or above belong to extensions, and the application never gets them from `accept_stream`."""

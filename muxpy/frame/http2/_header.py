"""The nine bytes in front of every frame, and the numbers that RFC 9113 gives to types, flags and settings.

    byte    0-2      3       4      5-8
          length    type   flags   stream id          big endian

`HEADER` reads length and type as one number, `length << 8 | type`: struct has no integers of 24 bits. The top bit of
the id is reserved: sent as 0, ignored on receipt.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113, 3.4)."""

HEADER: Final = Struct(">IBI")
HEADER_SIZE: Final = HEADER.size
FLAGS_AT: Final = 4

MASK_31: Final = 0x7FFFFFFF
"""Ids, windows and their increments all have 31 bits."""
MAX_ID: Final = MASK_31
MAX_WINDOW: Final = MASK_31
"""The most bytes that a window may allow, 2^31-1: an increment past that is an error."""
DEFAULT_MAX_FRAME_SIZE: Final = 16_384
"""The payload that every peer takes (RFC 9113, 4.2), and the least that SETTINGS_MAX_FRAME_SIZE may say."""

# Frame types. Plain integers, not an enum: the receive loop compares one for every frame.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
PRIORITY_UPDATE: Final = 0x10
"""RFC 9218, 7.1."""
TYPE_NAMES: Final = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
    PRIORITY_UPDATE: "PRIORITY_UPDATE",
}

# Flags.
END_STREAM: Final = 0x01
"""On DATA and HEADERS: the sender will send nothing more on this stream."""
ACK: Final = 0x01
"""On SETTINGS and PING: the answer to one."""
END_HEADERS: Final = 0x04
"""On HEADERS, PUSH_PROMISE and CONTINUATION: the header block ends here."""
PADDED: Final = 0x08
"""On DATA, HEADERS and PUSH_PROMISE: the first byte says how many bytes of padding end the frame."""
HAS_PRIORITY: Final = 0x20
"""On HEADERS: five bytes of priority stand before the block. RFC 9113 calls the flag PRIORITY, as it does a type."""


class Setting(IntEnum):
    """What SETTINGS may say (RFC 9113, 6.5.2; RFC 8441, 3; RFC 9218, 2.1). Others are ignored."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8
    NO_RFC7540_PRIORITIES = 0x9

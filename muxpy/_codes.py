"""Error codes and protocol errors: what every layer shares. Imports nothing of muxpy and nothing of trio.

They stand apart from `_errors`, whose exceptions derive from Trio's: the protocol's rules must not import trio.
"""

from enum import IntEnum
from operator import index

__all__ = ["ErrorCode", "ProtocolError", "TooMuch", "check_code", "code_name", "named", "printable"]


class ErrorCode(IntEnum):
    """Why a stream was reset or a session ended; carried by RST and GOAWAY frames (docs/protocol.md).

    A peer may send codes that are not listed here; those stay plain integers.
    """

    NO_ERROR = 0
    """A clean end."""
    PROTOCOL_ERROR = 1
    """The other side broke a rule of the protocol."""
    INTERNAL_ERROR = 2
    """This side failed, through no fault of the other."""
    FLOW_CONTROL_ERROR = 3
    """More data than the window allowed, or a window past 2^31-1."""
    STREAM_CLOSED = 4
    """A frame for a stream, or a half of one, that had already ended."""
    FRAME_SIZE_ERROR = 5
    """A frame whose length does not fit its type."""
    REFUSED_STREAM = 6
    """The stream was not taken; nothing was done with it, so it is safe to try again."""
    CANCEL = 7
    """The stream is no longer wanted."""


def code_name(code: int) -> str:
    """`CANCEL` for 7; a code that has no name is shown as `error 99`. The codes of another protocol come as members of
    an enumeration of their own."""
    if isinstance(code, IntEnum):
        return code.name
    return ErrorCode(code).name if code in ErrorCode._value2member_map_ else f"error {code}"


def named(code: int) -> int:
    """The code as a member of ErrorCode, if it has a name there; the codes of another protocol stay as they are."""
    return code if isinstance(code, IntEnum) or code not in ErrorCode._value2member_map_ else ErrorCode(code)


def check_code(code: int) -> None:
    """Raise ValueError for a number that the four bytes of an error code cannot carry; TypeError for no integer."""
    if not 0 <= index(code) < 2**32:
        raise ValueError(f"an error code must lie between 0 and 2^32-1, not {code!r}")


def printable(text: str) -> str:
    """The text as one line, with control characters and the like escaped: what a peer sends must not write lines of its
    own into a log, or command a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class ProtocolError(Exception):
    """A rule of the protocol was broken, and the whole session must end with GOAWAY.

    `code` is the code for the GOAWAY frame, from the list of the protocol in use. `reason` is a sentence for a person,
    sent as the frame's debug text.
    """

    def __init__(self, code: IntEnum, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code.name}: {self.reason}"


class TooMuch(ProtocolError):
    """The peer makes this side keep or do more than is reasonable. Some protocols have a code of its own for that."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.PROTOCOL_ERROR, reason)

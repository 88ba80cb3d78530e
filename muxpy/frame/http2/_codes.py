"""The error codes of HTTP/2."""

from enum import IntEnum

__all__ = ["ErrorCode", "named_code"]


class ErrorCode(IntEnum):
    """Why a stream was reset or a connection ended (RFC 9113, 7). A peer may send others; those stay plain integers."""

    NO_ERROR = 0x0
    """A clean end."""
    PROTOCOL_ERROR = 0x1
    """The other side broke a rule that has no code of its own."""
    INTERNAL_ERROR = 0x2
    """This side failed, through no fault of the other."""
    FLOW_CONTROL_ERROR = 0x3
    """More data than a window allowed, or a window past 2^31-1."""
    SETTINGS_TIMEOUT = 0x4
    """Our SETTINGS were not acknowledged in time."""
    STREAM_CLOSED = 0x5
    """A frame for a stream that was half-closed already."""
    FRAME_SIZE_ERROR = 0x6
    """A frame whose length does not fit its type, or is past the limit."""
    REFUSED_STREAM = 0x7
    """The stream was not taken; nothing was done with it, so it is safe to try again."""
    CANCEL = 0x8
    """The stream is no longer wanted."""
    COMPRESSION_ERROR = 0x9
    """A header block that cannot be decoded: both sides no longer have the same table."""
    CONNECT_ERROR = 0xA
    """The target of a CONNECT tunnel reset its connection, or it closed abnormally."""
    ENHANCE_YOUR_CALM = 0xB
    """The other side makes more work than is reasonable."""
    INADEQUATE_SECURITY = 0xC
    """The TLS below does not meet RFC 9113, 9.2."""
    HTTP_1_1_REQUIRED = 0xD
    """The resource is served over HTTP/1.1 only."""


def named_code(code: int) -> int:
    """The code as a member of ErrorCode, if it has a name."""
    return ErrorCode(code) if code in ErrorCode._value2member_map_ else code

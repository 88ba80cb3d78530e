"""What a connection begins with (RFC 9113, 3.4): HTTP/2, or another protocol, which is then named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy._codes import ProtocolError
from muxpy.frame import ENOUGH, known_beginning
from muxpy.frame.http2 import PREFACE, Http2Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.frame import Buffer

__all__ = ["Beginning"]


class Beginning:
    """The first bytes of the peer, until its first SETTINGS have come."""

    __slots__ = ("_client", "_left", "_start", "on_preface")

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self._left = b"" if client else PREFACE  # what is still to come of the peer's preface
        self._start = b""
        self.on_preface: Callable[[], None] | None = None
        """Called when the preface of a client has come."""

    def take(self, data: Buffer) -> memoryview:
        """What follows the preface. Raises ProtocolError if this is none."""
        view = memoryview(data)
        self._start += view[: ENOUGH - len(self._start)]
        expected = self._left
        if not expected:
            return view
        got = bytes(view[: len(expected)])
        if not expected.startswith(got):
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "the connection does not begin with the preface of HTTP/2")
        self._left = expected[len(got) :]
        if not self._left and self.on_preface is not None:
            self.on_preface()
        return view[len(got) :]

    def in_words(self, error: ProtocolError) -> ProtocolError:
        """The error, which names another protocol first if the bytes look like one."""
        other = known_beginning(self._start)
        if other == "HTTP/2":
            return _both_clients(error) if self._client else error
        if other is None:
            return error
        return ProtocolError(Http2Code.PROTOCOL_ERROR, f"this looks like {other}, not HTTP/2: {error.reason}")


def _both_clients(error: ProtocolError) -> ProtocolError:
    reason = f"this is the preface of a client; are both sides the client? {error.reason}"
    return ProtocolError(Http2Code.PROTOCOL_ERROR, reason)

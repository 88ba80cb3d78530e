"""A stream of HTTP/2: one request and its response, or a tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy.frame.http2 import Http2Code
from muxpy.proto._incoming import Incoming
from muxpy.proto._state import REMOTE_DONE
from muxpy.proto._stream import StreamState

if TYPE_CHECKING:
    from muxpy.proto._core import Fields

    from ._heads import RequestHead, ResponseHead

__all__ = ["HttpStream"]

NO_BODY: Final = Incoming()
"""The receiving direction of all streams on which nothing can come any more, so it never changes. Most requests are
such, and to make one for each would be a quarter of making their streams."""


class HttpStream(StreamState):
    """State of one stream, with what only this protocol has."""

    __slots__ = ("announced", "answer", "answered", "expected", "interim", "request", "trailers", "tunnel")

    def __init__(
        self, stream_id: int, request: RequestHead, send_window: int, priority: int, *, ended: bool = False
    ) -> None:
        """`ended`: the request has ended with its head."""
        StreamState.__init__(self, stream_id, priority, 0, send_window, NO_BODY if ended else None)
        if ended:
            self.phase = REMOTE_DONE
        self.request = request
        self.answer: ResponseHead | None = None
        """At a client: the final head of the response, once it has come."""
        self.answered = False  # at a server: the final head was sent
        self.interim: list[ResponseHead] | None = None  # at a client: interim responses that nobody has taken yet
        self.trailers: Fields | None = None  # of the peer, once it has ended its direction with some
        self.tunnel = request.method == b"CONNECT"  # no message, but a stream of bytes that each side may close
        self.expected: int | None = None  # bytes of the peer's body that are still to come, where they are announced
        self.announced: int | None = None  # bytes that our own body has in all, where we have announced them

    @property
    def retryable(self) -> bool:
        return self.reset_by_peer and self.reset_code == Http2Code.REFUSED_STREAM

    def stop_sending(self, code: int) -> None:
        """The peer has ended its direction, and now resets the stream because it wants no more of ours. What came
        before is still to be read (RFC 9113, 8.1)."""
        self._reset = code, True
        if self.outgoing is not None:
            self.outgoing.data = None

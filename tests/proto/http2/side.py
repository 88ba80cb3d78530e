"""One connection of HTTP/2 under test, and a peer whose frames the test writes by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy import http
from muxpy.proto.http2 import Connection
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame
from tests.proto.side import MANY

if TYPE_CHECKING:
    from muxpy.proto import Changes

__all__ = ["PREFACE", "REQUEST", "Side"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST: Final = b"\x82\x86\x84\x01\x01a"
"""The header block of GET http://a/."""


class Side:
    """A server's connection, or a client's."""

    def __init__(self, *, client: bool = False, config: http.Config | None = None) -> None:
        self.now = 0.0
        self.core = Connection(config or http.Config(), client=client, clock=lambda: self.now)
        self.sent()

    def begin(self) -> None:
        """The peer, a client, has said what a connection begins with, and so has this side."""
        self.receive(PREFACE, frame(wire.SETTINGS, 0))
        self.sent()

    def receive(self, *frames: bytes) -> Changes:
        return self.core.receive(b"".join(frames))

    def sent(self) -> bytes:
        """What it wants written since the last call."""
        written = b""
        while batch := self.core.sending.next_batch(MANY):
            written += b"".join(batch.chunks)
        return written

    def open(self, stream_id: int, *, end: bool = False) -> None:
        """The peer opens a stream."""
        flags = wire.END_HEADERS | (wire.END_STREAM if end else 0)
        self.receive(frame(wire.HEADERS, stream_id, REQUEST, flags=flags))
        assert self.sent() == b""

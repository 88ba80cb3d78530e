"""Tunnels (CONNECT)."""

from __future__ import annotations

from tests.frame.http2 import wire
from tests.frame.http2.wire import frame

from .side import Side

CONNECT = b"\x02\x07CONNECT\x01\x03a:1"


def test_a_tunnel_has_no_length_whatever_its_head_says() -> None:
    side = Side()
    side.begin()
    side.receive(frame(wire.HEADERS, 1, CONNECT, flags=wire.END_HEADERS))
    (stream,) = side.core.streams.values()
    side.core.send_head(stream, ((b":status", b"200"), (b"content-length", b"5000")), length=5000)
    side.sent()
    assert side.core.finish(stream)
    assert side.sent() == frame(wire.DATA, 1, flags=wire.END_STREAM)

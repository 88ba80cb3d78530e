"""A session that has ended is freed immediately. Left to the cycle collector, sessions that come and go have it stop
everything, again and again."""

from __future__ import annotations

import gc
import socket
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import muxpy
from tests.frame import wire
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = muxpy.SessionConfig(wants_login=True, linger_timeout=0)


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


def half(peer: socket.socket) -> None:
    peer.send(wire.data(3, bytes(100))[:50])
    peer.close()


ENDS: dict[str, Callable[[socket.socket], object]] = {
    "says nothing and closes": socket.socket.close,
    "resets the connection": reset,
    "speaks something else": lambda peer: peer.send(b"GET / HTTP/1.1\r\n\r\n"),
    "breaks a rule": lambda peer: peer.send(wire.data(3, bytes(100))),
    "closes in the middle of a frame": half,
    "sends too much before it is let in": lambda peer: peer.send(wire.wnd_inc(3, 1) * 100),
}


async def ended(end: Callable[[socket.socket], object]) -> weakref.ref[muxpy.Session]:
    """A session whose peer makes it end so; what is left of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    with peer:
        async with muxpy.open_session(
            trio.SocketStream(trio.socket.from_stdlib_socket(near)), client=False, config=CONFIG
        ) as session:
            end(peer)
            await session.wait()
            return weakref.ref(session)


@pytest.mark.parametrize("how", ENDS)
@bounded()
async def test_a_session_is_freed_when_its_peer(how: str) -> None:
    with no_collector():
        left = await ended(ENDS[how])
        await trio.lowlevel.checkpoint()
        assert left() is None


@bounded()
async def test_a_session_that_is_kept_can_still_be_asked() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with muxpy.open_session(near, client=True) as session, muxpy.open_session(far, client=False) as other:
        stream = await session.open_stream()
        other.kill()
        await session.wait()
    assert session.statistics().streams_opened >= 1
    for closed in (session, other):
        closed.kill()
        closed.go_away()
        await closed.aclose()
        with pytest.raises(muxpy.SessionClosed):
            await closed.open_stream()
    with pytest.raises(muxpy.SessionClosed):
        await stream.send_all(b"x")
    await stream.aclose()

"""A session that has ended is freed immediately. Left to the cycle collector, sessions that come and go have it stop
everything, again and again."""

from __future__ import annotations

import gc
import socket
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import muxpy
from tests.frame import wire
from tests.helpers.inside import core_of
from tests.helpers.pairs import session_pair, stream_pair, unix_pair
from tests.helpers.tasks import bounded, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

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


def cut_off(peer: socket.socket) -> None:
    peer.send(wire.data(3, bytes(100))[:50])
    peer.close()


ENDS: dict[str, Callable[[socket.socket], object]] = {
    "says nothing and closes": socket.socket.close,
    "resets the connection": reset,
    "speaks something else": lambda peer: peer.send(b"GET / HTTP/1.1\r\n\r\n"),
    "breaks a rule": lambda peer: peer.send(wire.data(3, bytes(100))),
    "closes in the middle of a frame": cut_off,
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


# ---- and so is all that its streams needed, whatever was done with them ----

EXTENSION = 0xFFFFFF00


class Echo:
    """An extension that answers on its streams."""

    stream_type = EXTENSION

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        try:
            while True:
                stream = await accept()
                await stream.send_all(await stream.receive_some())
        except muxpy.SessionClosed:
            pass


async def splice(client: muxpy.Session, server: muxpy.Session, *, end: str) -> None:
    peer, stream = await stream_pair(client, server)
    outer, inner = unix_pair()
    async with peer, stream, outer, inner, trio.open_nursery() as nursery:
        nursery.start_soon(stream.splice, inner)
        await outer.send_all(b"x")
        assert await peer.receive_some() == b"x"
        if end == "cancelled":
            nursery.cancel_scope.cancel()
        elif end == "taken":
            with pytest.raises(trio.BusyResourceError):
                await peer.splice(inner)
            nursery.cancel_scope.cancel()
        else:
            await outer.send_eof()
            await peer.send_eof()


async def watch(client: muxpy.Session, server: muxpy.Session) -> None:
    near, far = await stream_pair(client, server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.wait_ended)
        nursery.start_soon(near.wait_ended)
        nursery.start_soon(far.wait_ended)
        await trio.testing.wait_all_tasks_blocked()
        far.reset()


async def watch_for_a_while(client: muxpy.Session, server: muxpy.Session) -> None:
    near, _ = await stream_pair(client, server)
    with trio.move_on_after(0):
        await near.wait_ended()


async def serve(client: muxpy.Session, server: muxpy.Session, *, cancel_handlers: bool) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.serve_streams, echo, cancel_handlers=cancel_handlers))
        async with await client.open_stream() as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        server.go_away()


async def listen(client: muxpy.Session, server: muxpy.Session) -> None:
    async with server.listener() as listener:
        await client.open_stream()
        await listener.accept()


async def take_none(client: muxpy.Session, server: muxpy.Session) -> None:
    for _ in range(3):
        await client.open_stream()
    await trio.testing.wait_all_tasks_blocked()


async def use_an_extension(client: muxpy.Session, server: muxpy.Session) -> None:
    stream = await client.open_stream(stream_type=EXTENSION)
    await stream.send_all(b"x")
    assert await stream.receive_some() == b"x"


class Plain(Echo):
    """An extension that leaves it to its session that the session has ended."""

    stream_type = EXTENSION + 1

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        while True:
            await accept()


USES: dict[str, Callable[[muxpy.Session, muxpy.Session], Awaitable[None]]] = {
    "splices": partial(splice, end="whole"),
    "breaks off a splice": partial(splice, end="cancelled"),
    "splices a socket twice": partial(splice, end="taken"),
    "watches streams": watch,
    "watches a stream for a while": watch_for_a_while,
    "serves streams": partial(serve, cancel_handlers=False),
    "serves streams and cancels handlers": partial(serve, cancel_handlers=True),
    "listens": listen,
    "takes no stream": take_none,
    "uses an extension": use_an_extension,
}


@pytest.mark.parametrize("use", USES)
@bounded()
async def test_nothing_is_left_of_a_session_that(use: str) -> None:
    config = muxpy.SessionConfig(linger_timeout=0, drain_timeout=0)
    extensions = [Echo(), Plain()]

    async def used() -> list[weakref.ref[object]]:
        async with session_pair(client_config=config, server_config=config, server_extensions=extensions) as pair:
            await USES[use](*pair)
            for session in pair:
                session.kill()
                await session.wait()
            return [weakref.ref(one) for session in pair for one in (session, core_of(session))]

    with no_collector():
        left = await used()
        await trio.lowlevel.checkpoint()
        assert [one() for one in left] == [None] * 4


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

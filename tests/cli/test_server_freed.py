"""A session of a user that has ended is freed immediately, with all that it had: nothing is left to the cycle
collector, which would have to look at every object of all other sessions to find it."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from muxpy_cli._options import ListenOptions, Output
from muxpy_cli.net import bind_streams
from muxpy_cli.server import Server
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from muxpy_cli.wire import Purpose, pack
from tests.frame import wire
from tests.helpers.load import until
from tests.helpers.tasks import bounded

SESSIONS = 3
HELLO = wire.syn(3, stream_type=Purpose.HELLO) + wire.data(3, pack({"client": "c", "process": "p", "slot": 0}))
LISTEN = {"host": "127.0.0.1", "port": 0, "forward": 0}


def said(port: int, *, fin: bool) -> bytes:
    """A remote forward, and a connection to `port`."""
    target = {"host": "127.0.0.1", "port": port}
    return (
        wire.syn(5, stream_type=Purpose.LISTEN)
        + wire.data(5, pack(LISTEN))
        + wire.syn(7, stream_type=Purpose.CONNECT)
        + wire.data(7, pack(target) + b"hello", fin=fin)
    )


def vanish(server: Server, peer: trio.SocketStream) -> None:
    peer.socket.close()


def kill(server: Server, peer: trio.SocketStream) -> None:
    for one in server._peers:
        one.session.kill()


def end_in_order(server: Server, peer: trio.SocketStream) -> None:
    for one in server._peers:
        one.nursery.start_soon(one.session.aclose)
    peer.socket.shutdown(socket.SHUT_WR)


End = Callable[[Server, trio.SocketStream], None]


async def live(server: Server, port: int, target: int, end: End, *, fin: bool) -> None:
    """One session, from its beginning to its end."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as peer:
        await peer.send_all(HELLO)
        await until(lambda: len(server._peers) == 1)
        await peer.send_all(said(target, fin=fin))
        received = b""
        while b"hello" not in received or b"port" not in received:
            received += await peer.receive_some()
        end(server, peer)
        await until(lambda: not len(server._peers))
        await until(lambda: not server._bindings)


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                await stream.send_all(data)


def of_ours() -> list[str]:
    """What only the cycle collector finds, of this project's."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = [type(one) for one in gc.garbage]
    gc.garbage.clear()
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in found if kind.__module__.startswith("muxpy")]


@pytest.mark.parametrize("fin", [False, True], ids=["with_a_connection", "after_a_connection"])
@pytest.mark.parametrize("end", [vanish, kill, end_in_order])
@bounded()
async def test_nothing_is_left_of_a_user_s_session(end: End, fin: bool) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, echo, 0)
        target = listeners[0].socket.getsockname()[1]
        server = Server(ListenOptions(address=Address("127.0.0.1", 0), drain=0.1), Console(Output(verbosity=-1)))
        bound = await bind_streams(Address("127.0.0.1", 0))
        server.listen_on(bound)
        listening = trio.Event()
        nursery.start_soon(server.run, listening.set)
        await listening.wait()
        await live(server, bound.port, target, end, fin=fin)  # what is cached is there from now on
        gc.collect()
        gc.disable()
        try:
            for _ in range(SESSIONS):
                await live(server, bound.port, target, end, fin=fin)
            server._peers._usages.clear()
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert of_ours() == []
        finally:
            gc.enable()
        nursery.cancel_scope.cancel()

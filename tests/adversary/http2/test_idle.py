"""Ten thousand connections that ask for nothing: what each costs a server."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest
import trio
import trio.testing

from muxpy import http
from muxpy.http._session import parts_of
from tests.helpers.load import until

from . import wire
from .idle import Client, hello, idle_cost
from .scene import stage

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # memory

CONNECTIONS: Final = 150
MOST: Final = 24 * 1024
"""Bytes that Python allocates for one. OpenSSL's are not counted. Alone it is 14 KB, and 15.5 with TLS; in a process
that has run other tests, which have given objects other attributes, Python shares less between them."""


async def seconds(clock: Clock) -> None:
    """Let the server look twice at its connections, and its tasks end."""
    for _ in range(4):
        clock.jump(1)
        await trio.testing.wait_all_tasks_blocked(0)
        for _ in range(10):
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_an_idle_connection_costs_little(tls: bool, mock_clock: Clock) -> None:
    cost = await idle_cost(CONNECTIONS, tls=tls, rest=partial(seconds, mock_clock))
    assert cost.traced <= MOST


async def test_an_idle_connection_has_one_task(mock_clock: Clock) -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(http.serve, hello, 0, host="127.0.0.1"))
        before = trio.lowlevel.current_statistics().tasks_living
        clients = [Client(listener.socket.getsockname()[1], None) for _ in range(5)]
        for client in clients:
            await client.ask()
        await seconds(mock_clock)
        assert trio.lowlevel.current_statistics().tasks_living == before + len(clients)
        for client in clients:
            client.socket.close()
        nursery.cancel_scope.cancel()


async def test_a_burst_leaves_nothing_behind(mock_clock: Clock) -> None:
    """Tasks that wait for the next requests, blocks that may come again: what saves time is let go of when idle."""
    async with stage(config=http.Config(linger_timeout=10)) as scene:
        await scene.settle()
        core = parts_of(scene.session).core
        tasks = trio.lowlevel.current_statistics().tasks_living
        await scene.play([b"".join(wire.request(one, "/read") for one in range(3, 203, 2))])
        await scene.send(b"".join(wire.data(one, end=True) for one in range(1, 203, 2)))
        await until(lambda: not core.open_streams)
        assert trio.lowlevel.current_statistics().tasks_living > tasks + 32
        await seconds(mock_clock)
        assert trio.lowlevel.current_statistics().tasks_living <= tasks
        assert not core.patience._messages._hpack._known
        assert not core.patience._common.encoder._known
        await scene.check_neighbour()

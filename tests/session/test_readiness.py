"""Sockets that become readable together are read a few in each pass of the scheduler."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.transport._readiness import AT_ONCE, Readiness, has_epoll
from tests.helpers.load import until
from tests.helpers.pairs import tcp_pair
from tests.helpers.passes import counting_passes
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not has_epoll, reason="all wait by Trio's own means")

MANY = 4 * AT_ONCE
QUIET = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=0.2)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(MANY)]
        for pair in made:
            for end in pair:
                stack.enter_context(end)
        yield made


@bounded()
async def test_few_go_on_in_each_pass(pairs: list[Pair]) -> None:
    awake: list[int] = []

    async def wait(near: socket.socket) -> None:
        await Readiness.current().wait_readable(near.fileno())
        awake.append(near.fileno())

    async with trio.open_nursery() as nursery:
        for near, _ in pairs:
            nursery.start_soon(wait, near)
        await wait_all_tasks_blocked()
        with counting_passes(lambda: len(awake)) as passes:
            for _, far in pairs:
                far.send(b"x")
            await until(lambda: len(awake) == MANY)
    assert sorted(awake) == sorted(near.fileno() for near, _ in pairs)
    assert passes.most_a_pass <= 2 * AT_ONCE


@bounded()
async def test_who_is_cancelled_leaves_the_socket_to_the_next(pairs: list[Pair]) -> None:
    readiness = Readiness.current()
    async with trio.open_nursery() as nursery:
        for near, _ in pairs[:-1]:
            nursery.start_soon(readiness.wait_readable, near.fileno())
        await wait_all_tasks_blocked()
        near, far = pairs[-1]
        with trio.move_on_after(0) as given_up:
            await readiness.wait_readable(near.fileno())
        assert given_up.cancelled_caught
        nursery.start_soon(readiness.wait_readable, near.fileno())
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await readiness.wait_readable(near.fileno())
        far.close()
        await until(lambda: len(nursery.child_tasks) == MANY - 1)
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_number_whose_socket_was_closed_under_its_reader_is_that_of_the_next_socket(pairs: list[Pair]) -> None:
    readiness = Readiness.current()
    async with trio.open_nursery() as nursery:
        for near, _ in pairs[:-1]:
            nursery.start_soon(readiness.wait_readable, near.fileno())
        await wait_all_tasks_blocked()
        near, far = pairs[-1]
        number = near.fileno()
        old = trio.CancelScope()

        async def wait() -> None:
            with old:
                await readiness.wait_readable(number)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        near.close()
        again, other = socket.socketpair()
        with again, other:
            assert again.fileno() == number
            nursery.start_soon(readiness.wait_readable, number)
            await wait_all_tasks_blocked()
            old.cancel()
            other.send(b"x")
            await until(lambda: len(nursery.child_tasks) == MANY - 1)
        far.close()
        nursery.cancel_scope.cancel()


@bounded()
async def test_sessions_whose_peers_vanish_together_do_not_all_end_in_one_pass() -> None:
    async with AsyncExitStack() as stack:
        made, peers = [], []
        for _ in range(MANY):
            near, far = await tcp_pair()
            peers.append(await stack.enter_async_context(far))
            opened = muxpy.open_session(near, client=False, config=QUIET, extensions=[])
            made.append(await stack.enter_async_context(opened))
        await wait_all_tasks_blocked()
        with counting_passes(lambda: sum(session.end is not None for session in made)) as passes:
            for peer in peers:
                peer.socket.close()
            for session in made:
                await session.wait()
    assert passes.most_a_pass <= 2 * AT_ONCE

"""Connections that are carried without a task for each."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy_cli.relay import Account, Carriage, Unanswered
from muxpy_cli.relay._relay import watched_sockets
from muxpy_cli.wire import Refused, pack
from tests.helpers.pairs import as_stream, session_pair
from tests.helpers.tasks import LIMIT, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPENING = pack({"host": "localhost", "port": 80})
QUICK = muxpy.SessionConfig(drain_timeout=0)


class Scene:
    """One connection; `told` is what it ended with."""

    def __init__(self, client: muxpy.Session, server: muxpy.Session, nursery: trio.Nursery) -> None:
        self.client = client
        self.server = server
        self.account = Account()
        self.carriage = Carriage(self.account)
        self.nursery = nursery
        self.told: list[Exception | None] = []
        outer, self.near = socket.socketpair()
        self.outer = as_stream(outer)
        self.stream = client.open_stream_nowait()

    async def begin(self) -> muxpy.Stream:
        """The other end of the stream, after the opening."""
        assert self.carriage.begin(self.near, self.stream, OPENING, self.told.append)
        far = await self.server.accept_stream()
        assert await far.receive_some() == OPENING
        return far

    async def ended(self) -> None:
        """Nothing is left of it."""
        await wait_all_tasks_blocked()
        assert self.near.fileno() < 0
        assert not self.account.open
        assert not watched_sockets()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    with trio.fail_after(LIMIT):
        async with (
            session_pair("unix", client_config=QUICK, server_config=QUICK) as (client, server),
            trio.open_nursery() as nursery,
        ):
            made = Scene(client, server, nursery)
            nursery.start_soon(made.carriage.run)
            yield made
            made.outer.socket.close()
            nursery.cancel_scope.cancel()


async def test_a_connection_that_ends_in_order() -> None:
    async with scene() as one:
        far = await one.begin()
        assert one.account.open == {one.stream}
        await one.outer.send_all(b"there")
        await one.outer.send_eof()
        await far.send_all(pack({}) + b"back", end=True)
        assert await read_all(far) == b"there"
        assert await read_all(one.outer) == b"back"
        await one.ended()
        assert one.told == [None]
        assert one.account.bytes() == (len(pack({}) + b"back"), len(OPENING + b"there"))


async def test_a_connection_that_the_other_end_refuses() -> None:
    for answer, error in (({"error": "refused", "reason": "closed"}, Refused), ([], Unanswered)):
        async with scene() as one:
            far = await one.begin()
            await far.send_all(pack(answer))  # type: ignore[arg-type]
            await one.ended()
            assert len(one.told) == 1
            assert isinstance(one.told[0], error)
            with pytest.raises(muxpy.StreamReset):
                await read_all(far)


async def test_a_stream_that_the_other_end_does_not_take_and_one_that_it_resets() -> None:
    for code, expected in ((muxpy.ErrorCode.REFUSED_STREAM, Unanswered), (muxpy.ErrorCode.CANCEL, type(None))):
        async with scene() as one:
            (await one.begin()).reset(code)
            await one.ended()
            assert [type(error) for error in one.told] == [expected]


async def test_a_stream_that_is_reset_before_it_begins() -> None:
    async with scene() as one:
        one.stream.reset()
        assert one.carriage.begin(one.near, one.stream, OPENING, one.told.append)
        await one.ended()
        assert one.told == [None]


async def test_what_must_wait_is_left_to_a_task() -> None:
    async with scene() as one:
        assert not one.carriage.begin(one.near, one.stream, bytes(5000), one.told.append)
        assert one.near.fileno() >= 0
        assert not one.account.open
        one.near.close()


@pytest.mark.parametrize("late", [False, True])
async def test_a_cancellation_resets_what_is_open(late: bool) -> None:
    """Also what begins afterwards."""
    async with scene() as one:
        if late:
            one.nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
        assert one.carriage.begin(one.near, one.stream, OPENING, one.told.append)
        one.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await one.ended()
        with pytest.raises(trio.ClosedResourceError):
            one.stream.receive_nowait()
        assert not one.told


async def test_it_runs_until_it_is_closed_and_all_have_ended() -> None:
    async with scene() as one:
        far = await one.begin()
        over = trio.Event()

        async def run(carriage: Carriage) -> None:
            await carriage.run()
            over.set()

        one.carriage.close()
        await wait_all_tasks_blocked()
        assert one.nursery.child_tasks
        far.reset()
        await one.ended()
        assert not one.nursery.child_tasks
        idle = Carriage(Account())
        one.nursery.start_soon(run, idle)
        await wait_all_tasks_blocked()
        idle.close()
        await over.wait()


async def test_many_that_end_together_are_seen_to_in_turns() -> None:
    async with scene() as one:
        outers: list[socket.socket] = []
        told: list[Exception | None] = []
        for _ in range(200):
            outer, near = socket.socketpair()
            outers.append(outer)
            assert one.carriage.begin(near, one.client.open_stream_nowait(), OPENING, told.append)
        steps = 0

        class Steps(trio.abc.Instrument):
            def after_task_step(self, task: trio.lowlevel.Task) -> None:
                nonlocal steps
                steps += task.name.endswith("Carriage.run")

        trio.lowlevel.add_instrument(steps_of := Steps())
        one.server.kill()
        await one.client.wait()
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps_of)
        assert len(told) == 200
        assert steps >= 4
        assert one.account.cut == 200
        for outer in outers:
            outer.close()
        one.near.close()

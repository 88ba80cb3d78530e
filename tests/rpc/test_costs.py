"""What calls cost, counted and never timed: steps of tasks, frames and writes of both ends, and functions entered."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from muxpy.rpc._items import LONGEST
from tests.helpers.tasks import bounded

from .services import Worker, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

    import muxpy

    from .services import Bench

DATA = bytes(100)


class Costs(trio.abc.Instrument):
    """Counts while it is entered, and until all is quiet."""

    def __init__(self, *sessions: muxpy.Session) -> None:
        self._sessions = sessions
        self.steps = 0
        self.spawned = 0
        self.functions: Counter[str] = Counter()
        """Functions that were entered, or gone on with, by what they are in."""

    async def of(self, work: Callable[[], Awaitable[object]]) -> Costs:
        """Count what `work` costs. It has no deadline, also if the test has one."""
        await wait_all_tasks_blocked()
        before = [session.statistics() for session in self._sessions]
        trio.lowlevel.add_instrument(self)
        sys.setprofile(self._on_event)
        try:
            with trio.CancelScope(shield=True):
                await work()
        finally:
            sys.setprofile(None)
            trio.lowlevel.remove_instrument(self)
        await wait_all_tasks_blocked()
        after = [session.statistics() for session in self._sessions]
        self.frames = [now.frames_sent - then.frames_sent for now, then in zip(after, before, strict=True)]
        self.writes = [now.writes - then.writes for now, then in zip(after, before, strict=True)]
        return self

    def _on_event(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            path = frame.f_code.co_filename
            self.functions[next((part for part in ("muxpy/rpc", "contextlib") if f"/{part}" in path), "")] += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.spawned += 1


async def call(client: Bench, times: int) -> None:
    for _ in range(times):
        assert await client.echo(DATA) == DATA


async def call_together(client: Bench, callers: int, times: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call, client, times)


@bounded()
async def test_a_hundred_callers_start_no_tasks(mock_clock: trio.testing.MockClock) -> None:
    """Those that have carried out the calls before them are there, and wait."""
    async with served("unix") as (client, worker, here, there):
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(client.wait, "at the same time")
            await wait_all_tasks_blocked()
            worker.go_on.set()

        costs = await Costs(here, there).of(lambda: call_together(client, 100, 10))

    assert costs.spawned == 100  # the callers


@bounded()
async def test_a_call_without_a_deadline_does_not_touch_any(mock_clock: trio.testing.MockClock) -> None:
    """To set that of a scope passes through a context manager in Trio, and costs more than to decode the arguments."""
    async with served("unix") as (client, _, here, there):
        await call(client, 10)

        costs = await Costs(here, there).of(lambda: call(client, 100))

    assert costs.functions["contextlib"] < 50  # some when it begins, and none for each of a hundred calls


@bounded()
async def test_a_hundred_callers_share_frames(mock_clock: trio.testing.MockClock) -> None:
    """What many tasks send that one read has woken goes together, at both ends."""
    async with served("unix") as (client, _, here, there):
        await call_together(client, 100, 2)

        costs = await Costs(here, there).of(lambda: call_together(client, 100, 11))

    # A caller's first call answers nothing.
    assert costs.frames[0] <= 100 + 1000 / 8
    assert costs.frames[1] <= 1100 / 8
    assert max(costs.writes) <= 1100 / 8
    # One for each call, one for each answer, and those of who reads.
    assert costs.steps <= 1.25 * 2 * 1100


@bounded()
async def test_a_lone_call_waits_for_nobody(mock_clock: trio.testing.MockClock) -> None:
    """The handling end reads, its handler answers, and the caller reads the answer: a step each."""
    async with served("unix") as (client, _, here, there):
        await call(client, 10)

        costs = await Costs(here, there).of(lambda: call(client, 100))

    assert max(costs.frames) <= 102
    assert max(costs.writes) <= 102
    assert costs.steps <= 3 * 100 + 20


@bounded()
async def test_values_that_are_there_at_once_go_together(mock_clock: trio.testing.MockClock) -> None:
    async with served("unix") as (client, _, here, there):
        assert [value async for value in client.count(10)] == list(range(10))

        costs = await Costs(here, there).of(lambda: receive(client, 1000))

    assert costs.frames[1] <= 1000 / 32
    assert costs.steps <= 6 * 1000 / 64 + 20


async def receive(client: Bench, count: int) -> None:
    assert [value async for value in client.count(count)] == list(range(count))


@bounded()
async def test_values_that_take_their_time_do_not_keep_others_from_their_turn(
    mock_clock: trio.testing.MockClock,
) -> None:
    class Slow(Worker):
        async def count(self, to: int, pause: float = 0) -> AsyncIterator[int]:
            for number in range(to):
                mock_clock.jump(LONGEST)  # as if the processor had taken so long
                yield number

    async with served("unix", worker=Slow()) as (client, _, here, there):
        costs = await Costs(here, there).of(lambda: receive(client, 100))

    assert costs.frames[1] >= 50


@bounded()
async def test_what_a_call_and_a_value_pass_through(mock_clock: trio.testing.MockClock) -> None:
    """The functions of calls themselves that both ends enter, and coroutines that they go on with."""
    async with served("unix") as (client, _, here, there):
        await call_together(client, 100, 2)
        await receive(client, 10)

        together = await Costs(here, there).of(lambda: call_together(client, 100, 10))
        alone = await Costs(here, there).of(lambda: call(client, 100))
        values = await Costs(here, there).of(lambda: receive(client, 1000))

    assert together.functions["muxpy/rpc"] <= 51 * 1000
    assert alone.functions["muxpy/rpc"] <= 57 * 100
    assert values.functions["muxpy/rpc"] <= 9.5 * 1000

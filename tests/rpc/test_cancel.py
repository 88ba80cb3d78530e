"""Deadlines and cancellation: they reach the handler and what it has called, and nothing is left."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import rpc
from muxpy.rpc._answers import CANCELS, CANCELS_PER_SECOND, MAX_CALLS
from muxpy.rpc._endpoint import endpoint_of
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded, cancel_at, moments, read_all

from .services import Bench, Worker, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Clock = trio.testing.MockClock

Scene = tuple[Bench, Worker, muxpy.Session, muxpy.Session]


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await trio.lowlevel.checkpoint()
        yield number


async def assert_nothing_left(worker: Worker, *sessions: muxpy.Session, directions: int = 1) -> None:
    """No call is open at either end, and no stream but the one that calls share."""
    await trio.sleep(20)
    assert worker.running == 0
    for session in sessions:
        assert endpoint_of(session).waiting == 0
        assert session.statistics().streams_open <= 2 + directions  # two are of the heartbeat


@pytest.fixture(params=[0, 1], ids=["shared", "alone"])
def priority(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@bounded(1000)
async def test_a_deadline_reaches_the_handler(priority: int, autojump_clock: Clock) -> None:
    async with served() as (_, worker, here, there):
        bench = rpc.client(here, Bench, priority=priority)
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):
            await bench.wait("late")
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        await wait_all_tasks_blocked()
        assert worker.cancelled == ["late"]
        assert await bench.add(1) == 2
        await assert_nothing_left(worker, here, there)


@bounded(1000)
async def test_a_handler_knows_its_deadline(priority: int, autojump_clock: Clock) -> None:
    class Times(Worker):
        async def who(self) -> dict[str, str]:
            call = rpc.current_call()
            return {"call": f"{call.deadline:.1f}", "scope": f"{trio.current_effective_deadline():.1f}"}

    async with served(worker=Times()) as (_, _, here, _):
        bench = rpc.client(here, Bench, priority=priority)
        for deadline in ("1000.0", "5.0", "1000.0"):  # the test's own is the first
            with trio.CancelScope(deadline=float(deadline)):
                assert await bench.who() == {"call": deadline, "scope": deadline}


async def test_a_call_without_a_deadline_has_none(priority: int) -> None:
    class Times(Worker):
        async def who(self) -> dict[str, str]:
            return {"call": str(rpc.current_call().deadline), "scope": str(trio.current_effective_deadline())}

    async with served(worker=Times()) as (_, _, here, _):
        assert await rpc.client(here, Bench, priority=priority).who() == {"call": "inf", "scope": "inf"}


@bounded(1000)
async def test_a_deadline_goes_through_three_hops(priority: int, autojump_clock: Clock) -> None:
    workers = [Worker(), Worker()]
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, here, [workers[0]])
        nursery.start_soon(rpc.serve, there, [workers[1]])
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):
            await rpc.client(here, Bench, priority=priority).back(3)
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        await wait_all_tasks_blocked()
        assert workers[1].cancelled + workers[0].cancelled == ["the last hop"]
        await assert_nothing_left(workers[0], here, there, directions=2)
        await here.aclose()


@bounded(1000)
async def test_a_deadline_that_only_the_other_side_sees(priority: int, autojump_clock: Clock) -> None:
    """Its clock may be the first: the caller's own scope has not ended yet."""
    async with served() as (_, worker, here, _), trio.open_nursery() as nursery:
        bench = rpc.client(here, Bench, priority=priority)
        with trio.fail_after(5) as scope:
            nursery.start_soon(later, scope)
            with pytest.raises(rpc.DeadlineExceeded):
                await bench.wait("late")
        assert worker.cancelled == ["late"]


async def later(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.deadline += 100


@bounded(1000)
async def test_cancelling_a_caller_cancels_its_handler_and_what_that_has_called(
    priority: int, autojump_clock: Clock
) -> None:
    workers = [Worker(), Worker()]
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, here, [workers[0]])
        nursery.start_soon(rpc.serve, there, [workers[1]])
        async with trio.open_nursery() as calling:
            calling.start_soon(rpc.client(here, Bench, priority=priority).back, 4)
            await trio.sleep(1)
            assert workers[0].running + workers[1].running == 1
            calling.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert workers[0].running + workers[1].running == 0
        await assert_nothing_left(workers[0], here, there, directions=2)
        await here.aclose()


@bounded(1000)
async def test_a_thousand_cancels(priority: int, autojump_clock: Clock) -> None:
    async with served() as (_, worker, here, there):
        bench = rpc.client(here, Bench, priority=priority)
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(bench.wait, str(number))
            await trio.sleep(1)
            assert worker.running == 1000
            before = trio.current_time()
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert worker.running == 0
        assert trio.current_time() - before < 0.01
        assert len(worker.cancelled) == 1000
        await assert_nothing_left(worker, here, there)


@bounded(100_000)
async def test_calls_beyond_the_credit_wait_for_their_turn(autojump_clock: Clock) -> None:
    async with served() as (bench, worker, here, there):
        async with trio.open_nursery() as nursery:
            for number in range(MAX_CALLS + 100):
                nursery.start_soon(bench.wait, str(number))
            await trio.sleep(1)
            assert worker.running == MAX_CALLS
            worker.go_on.set()
        assert len(worker.ended) == MAX_CALLS + 100
        await assert_nothing_left(worker, here, there)


@bounded(100_000)
async def test_a_cancelled_call_keeps_its_place_until_its_handler_has_ended(autojump_clock: Clock) -> None:
    class Stubborn(Worker):
        async def wait(self, name: str) -> None:
            with trio.CancelScope(shield=True):
                await super().wait(name)

    async with served(worker=Stubborn()) as (bench, worker, here, there):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for number in range(MAX_CALLS):
                    nursery.start_soon(bench.wait, str(number))
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
            await trio.sleep(1)
            assert worker.running == MAX_CALLS
        with trio.move_on_after(1) as scope:
            await bench.add(1)
        assert scope.cancelled_caught
        worker.go_on.set()
        assert await bench.add(1) == 2
        await assert_nothing_left(worker, here, there)


@bounded(100_000)
async def test_call_and_cancel_in_turns_is_slowed_down(autojump_clock: Clock) -> None:
    async with served() as (bench, worker, here, there):
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for number in range(1000):
                    nursery.start_soon(bench.wait, str(number))
                await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        await bench.add(1)
        allowed = CANCELS + CANCELS_PER_SECOND * trio.current_time() + MAX_CALLS
        assert CANCELS <= len(worker.began) <= allowed < 10_000
        await assert_nothing_left(worker, here, there)


async def add(bench: Bench, session: muxpy.Session) -> None:
    assert await bench.add(1) == 2


async def add_alone(bench: Bench, session: muxpy.Session) -> None:
    assert await rpc.client(session, Bench, priority=1).add(1) == 2


async def several(bench: Bench, session: muxpy.Session) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(add, bench, session)


async def large(bench: Bench, session: muxpy.Session) -> None:
    assert len(await bench.echo(bytes(20_000))) == 20_000


async def large_answers(bench: Bench, session: muxpy.Session) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bench.many, 6000)  # type: ignore[attr-defined]


async def count(bench: Bench, session: muxpy.Session) -> None:
    async with aclosing(bench.count(3)) as values:  # type: ignore[type-var]
        assert [value async for value in values] == [0, 1, 2]


async def total(bench: Bench, session: muxpy.Session) -> None:
    assert await bench.total(numbers(3)) == 3


async def double(bench: Bench, session: muxpy.Session) -> None:
    async with aclosing(bench.double(numbers(3))) as values:  # type: ignore[type-var]
        assert [value async for value in values] == [0, 2, 4]


async def fetch(bench: Bench, session: muxpy.Session) -> None:
    async with await bench.fetch(10) as stream:
        assert await read_all(stream) == bytes(10)


async def store(bench: Bench, session: muxpy.Session) -> None:
    async def send(stream: muxpy.Stream) -> None:
        await stream.send_all(b"abc")

    assert await bench.store("a", await rpc.stream(session, send)) == 3


OPERATIONS: dict[str, Callable[[Bench, muxpy.Session], Awaitable[None]]] = {
    function.__name__: function
    for function in (add, add_alone, several, large, large_answers, count, total, double, fetch, store)
}


@rpc.service
class Many(Bench):
    """With large answers to small questions."""

    async def many(self, size: int) -> bytes:
        raise NotImplementedError


class ManyWorker(Worker, Many):
    async def many(self, size: int) -> bytes:
        return bytes(size)


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("name", OPERATIONS)
@bounded(1_000_000)
async def test_cancelled_at_each_step(name: str, any_task: bool, autojump_clock: Clock) -> None:
    """The session stays usable, and nothing is left at either end."""
    for nth in moments():
        async with session_pair() as (here, there), trio.open_nursery() as nursery:
            worker = ManyWorker()
            nursery.start_soon(rpc.serve, there, [worker])
            bench = rpc.client(here, Many)
            await bench.add(1)
            cancelled = await cancel_at(nth, partial(OPERATIONS[name], bench, here), any_task=any_task)
            await wait_all_tasks_blocked()
            assert await bench.add(1) == 2
            await assert_nothing_left(worker, here, there)
            await here.aclose()
        if not cancelled:
            assert nth > 1, "an operation is a checkpoint"
            return


@bounded()
async def test_callers_that_give_up_at_any_moment_leave_nothing_that_waits() -> None:
    """Also not a call that was to go together with others."""
    async with served("unix") as (client, _, here, _there):
        for passes in range(40):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(_add_on_and_on, client)
                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert await client.add(passes, 1) == passes + 1
        while endpoint_of(here).waiting:
            await client.add(1)


async def _add_on_and_on(client: Bench) -> None:
    while True:
        await client.add(1)

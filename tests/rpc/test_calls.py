"""Calls that have one answer."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import rpc
from tests.helpers.content import named
from tests.helpers.pairs import KINDS, session_pair
from tests.helpers.tasks import bounded

from .services import Bench, Part, Point, Worker, served


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_values_go_there_and_back(kind: str) -> None:
    async with served(kind) as (bench, _, _, _):
        assert await bench.add(1, 2) == 3
        assert await bench.add(2**63 - 1, -1) == 2**63 - 2
        await bench.nothing()
        assert await bench.turn(Point(1, 2)) == Point(-2, 1)
        assert await bench.tree(Part("a", [Part("b"), Part("c", [Part("d")])])) == [Part("b"), Part("c", [Part("d")])]
        assert await bench.echo(b"") == b""


@bounded()
async def test_arguments_are_given_as_to_any_method() -> None:
    async with served() as (bench, _, _, _):
        assert await bench.add(1) == 2
        assert await bench.add(b=5, a=1) == 6
        assert await bench.turn(Point(1), times=2) == Point(-1)


@pytest.mark.parametrize("size", [4070, 4080, 4087, 4096, 5000, 100_000, 4_000_000])
@pytest.mark.parametrize("kind", ["memory", "wide_pipe", "tcp"])
@bounded()
async def test_sizes_around_that_of_the_shared_stream(kind: str, size: int) -> None:
    if kind == "wide_pipe" and size > 10_000:
        size = 10_000
    data = named("data", size)
    async with served(kind) as (bench, _, _, _):
        answer = await bench.echo(data)
        assert hashlib.sha256(answer).digest() == hashlib.sha256(data).digest()


@bounded()
async def test_a_small_question_with_a_large_answer() -> None:
    class Large:
        async def give(self, size: int) -> bytes:
            return named("data", size)

    async with session_pair("tcp") as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, there, [Large()])
        large = rpc.client(here, Large)
        answers: dict[int, bytes] = {}

        async def ask(size: int) -> None:
            answers[size] = await large.give(size)

        async with trio.open_nursery() as asking:
            for number in range(100):  # more than are sent at once
                asking.start_soon(ask, 4000 + number * 1000)
        assert answers == {size: named("data", size) for size in range(4000, 104_000, 1000)}
        await here.aclose()


@bounded()
async def test_many_callers_each_get_their_own_answer() -> None:
    async with served("tcp") as (bench, _, _, _):
        right = 0

        async def ask(number: int) -> None:
            nonlocal right
            for step in range(20):
                if await bench.add(number, step) == number + step:
                    right += 1

        async with trio.open_nursery() as nursery:
            for number in range(2000):
                nursery.start_soon(ask, number)
        assert right == 40_000


@bounded()
async def test_a_slow_handler_holds_up_no_other() -> None:
    async with served() as (bench, worker, _, _), trio.open_nursery() as nursery:
        nursery.start_soon(bench.wait, "slow")
        await wait_all_tasks_blocked()
        assert await bench.add(1, 2) == 3
        assert worker.running == 1
        worker.go_on.set()


@bounded()
async def test_both_sides_call() -> None:
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        for side in (here, there):
            nursery.start_soon(rpc.serve, side, [Worker()])
        assert await rpc.client(here, Bench).add(1, 2) == 3
        assert await rpc.client(there, Bench).add(3, 4) == 7
        await here.aclose()


@bounded()
async def test_a_handler_calls_the_caller() -> None:
    here_worker, there_worker = Worker(), Worker()
    there_worker.go_on.set()
    here_worker.go_on.set()
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, here, [here_worker])
        nursery.start_soon(rpc.serve, there, [there_worker])
        assert await rpc.client(here, Bench).back(5) == 5
        await here.aclose()


@pytest.mark.parametrize("priority", [0, 7])
@bounded()
async def test_a_priority_takes_a_stream_for_each_call(priority: int) -> None:
    async with served() as (_, _, here, there):
        bench = rpc.client(here, Bench, priority=priority)
        assert await bench.add(1) == 2
        before = there.statistics().streams_accepted
        for _ in range(5):
            assert await bench.add(1) == 2
        assert there.statistics().streams_accepted - before == (5 if priority else 0)


@bounded()
async def test_metadata_reaches_the_handler() -> None:
    async with served() as (plain, worker, here, there):
        assert await plain.who() == {}
        bench = rpc.client(here, Bench, metadata={"user": "alice", "trace": "1"})
        assert await bench.who() == {"user": "alice", "trace": "1"}
        assert [call.method for call in worker.calls] == ["Bench.who"] * 2
        assert worker.calls[0].session is there


async def test_outside_of_handlers_there_is_no_call() -> None:
    with pytest.raises(LookupError):
        rpc.current_call()


@bounded()
async def test_what_is_not_served() -> None:
    class Other:
        async def ask(self) -> int:
            return 1

    class Bench:
        async def add(self, a: int) -> int:
            return a

        async def other(self) -> int:
            return 1

    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        rpc.client(here, Other)  # this side calls, and serves nothing
        with pytest.raises(rpc.Unimplemented, match="no service 'Other'; there are none"):
            await rpc.client(there, Other).ask()
        nursery.start_soon(rpc.serve, there, [Worker()])
        await wait_all_tasks_blocked()
        with pytest.raises(rpc.Unimplemented, match="no service 'Other'; there are Bench"):
            await rpc.client(here, Other).ask()
        with pytest.raises(rpc.Unimplemented, match=r"no method 'Bench.other'; there are Bench\.add, "):
            await rpc.client(here, Bench).other()
        await here.aclose()


@bounded()
async def test_the_session_closes_at_once_when_no_call_is_open(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, there, [Worker()])
        assert await rpc.client(here, Bench).add(1) == 2
        begun = trio.current_time()
        await here.aclose()
        assert trio.current_time() - begun < 0.5


@bounded()
async def test_serve_ends_with_the_session() -> None:
    async with session_pair() as (here, there):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rpc.serve, there, [Worker()])
            await rpc.client(here, Bench).add(1)
            await here.aclose()
        assert there.end is not None
        assert there.end.error is None


@bounded()
async def test_a_handler_has_a_context_of_its_own() -> None:
    mark: ContextVar[str] = ContextVar("mark", default="none")

    class Marks:
        async def mark(self, name: str) -> str:
            before = mark.get()
            mark.set(name)
            return before

    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        mark.set("server")
        nursery.start_soon(rpc.serve, there, [Marks()])
        marks = rpc.client(here, Marks)
        assert [await marks.mark(str(number)) for number in range(3)] == ["server"] * 3
        await here.aclose()


@bounded()
async def test_a_session_whose_streams_somebody_else_takes() -> None:
    async def handler(stream: muxpy.Stream) -> None: ...

    async with session_pair() as (_, there), trio.open_nursery() as nursery:
        nursery.start_soon(there.serve_streams, handler)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="calls need all its streams"):
            await rpc.serve(there, [Worker()])
        with pytest.raises(trio.BusyResourceError):
            await rpc.client(there, Bench).add(1)
        nursery.cancel_scope.cancel()

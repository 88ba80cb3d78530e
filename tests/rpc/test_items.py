"""Calls that take or give many values, and those with streams."""

from __future__ import annotations

import gc
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxpy import rpc
from muxpy.rpc._alone import ItemSender
from tests.helpers.content import named
from tests.helpers.pairs import KINDS, session_pair
from tests.helpers.tasks import bounded, read_all

from .services import Bench, Refused, Worker, served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import muxpy


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_many_values_in_each_direction(kind: str) -> None:
    async with served(kind) as (bench, worker, _, _):
        assert [number async for number in bench.count(100)] == list(range(100))
        assert await bench.total(numbers(100)) == 4950
        assert [number async for number in bench.double(numbers(100))] == list(range(0, 200, 2))
        assert [number async for number in bench.double(numbers(3), by=5)] == [0, 5, 10]
        assert [number async for number in bench.count(0)] == []
        assert await bench.total(numbers(0)) == 0
        await wait_all_tasks_blocked()
        assert worker.running == 0


@bounded()
async def test_a_slow_receiver_slows_the_handler_down() -> None:
    given = 0

    class Eager(Worker):
        async def count(self, to: int, pause: float = 0) -> AsyncIterator[int]:
            nonlocal given
            for given in range(to):
                yield given

    async with served(worker=Eager()) as (bench, _, _, _):
        values = bench.count(1_000_000)
        assert await anext(values) == 0
        await wait_all_tasks_blocked()
        before = given
        assert before < 100_000
        for number in range(1, before + 2):
            assert await anext(values) == number
        assert given > before
        del values


@pytest.mark.parametrize("count", [1, 10, 10_000], ids=["one", "ten", "more_than_the_window"])
@bounded()
async def test_a_value_does_not_wait_for_the_next_one(count: int) -> None:
    """Neither those that go at once, nor those for which there was no window before the handler began to wait."""

    class Waiting(Worker):
        async def count(self, to: int, pause: float = 0) -> AsyncIterator[int]:
            for number in range(to):
                if number % 10 == 9:
                    await trio.lowlevel.checkpoint()
                yield number
            await self.go_on.wait()

    async with served(worker=Waiting()) as (bench, worker, _, _):
        values = bench.count(count)
        assert await anext(values) == 0
        await wait_all_tasks_blocked()
        for number in range(1, count):
            assert await anext(values) == number
        worker.go_on.set()
        assert [value async for value in values] == []


@bounded()
async def test_values_there_and_back_in_turns() -> None:
    """Each value that the caller gives waits for the one that came of the last."""
    answered = trio.Event()

    async def one_by_one() -> AsyncIterator[int]:
        nonlocal answered
        for number in range(10):
            yield number
            await answered.wait()
            answered = trio.Event()

    async with served() as (bench, _, _, _):
        received = []
        async for number in bench.double(one_by_one()):
            received.append(number)
            answered.set()

    assert received == list(range(0, 20, 2))


@bounded()
async def test_a_handler_may_have_scopes_open_while_it_gives_values() -> None:
    class Scoped(Worker):
        async def count(self, to: int, pause: float = 0) -> AsyncIterator[int]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                with trio.move_on_after(60):
                    for number in range(to):
                        await trio.lowlevel.checkpoint()
                        yield number
                nursery.cancel_scope.cancel()

    async with served(worker=Scoped()) as (bench, _, _, _):
        assert [value async for value in bench.count(100)] == list(range(100))
        async with aclosing(bench.count(1_000_000)) as values:  # type: ignore[type-var]
            assert await anext(values) == 0
        assert await bench.add(1) == 2


@bounded()
async def test_a_caller_that_has_enough_ends_the_handler() -> None:
    async with served() as (bench, worker, _, _):
        async for number in bench.count(1_000_000):
            if number == 3:
                break
        gc.collect()
        await wait_all_tasks_blocked()
        assert worker.running == 0
        several = bench.count(1_000_000)
        assert await anext(several) == 0
        await several.aclose()  # type: ignore[attr-defined]
        await wait_all_tasks_blocked()
        assert worker.running == 0
        with pytest.raises(StopAsyncIteration):
            await anext(several)


@bounded()
async def test_an_error_among_the_values() -> None:
    async with served() as (bench, _, _, _):
        with pytest.raises(Refused):
            await bench.total(numbers(1000), at_most=100)  # answered before all have been sent

        class Later(Worker):
            async def count(self, to: int, pause: float = 0) -> AsyncIterator[int]:
                yield 1
                raise Refused("no more")

        async with served(worker=Later()) as (later, _, _, _):
            values = later.count(5)
            assert await anext(values) == 1
            with pytest.raises(Refused, match="no more"):
                await anext(values)
            with pytest.raises(StopAsyncIteration):
                await anext(values)


@bounded()
async def test_an_iterator_that_raises_is_the_callers_error() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("the disk is gone")

    async with served() as (bench, _, _, _):
        with pytest.raises(OSError, match="the disk is gone"):
            await bench.total(broken())
        with pytest.raises(OSError, match="the disk is gone"):
            [number async for number in bench.double(broken())]
        await wait_all_tasks_blocked()
        assert await bench.add(1) == 2


@bounded()
async def test_a_value_of_the_wrong_type() -> None:
    async def words() -> AsyncIterator[int]:
        yield 1
        yield "two"  # type: ignore[misc]

    async with served() as (bench, _, _, _):
        with pytest.raises(TypeError, match=r"Bench\.total: wrong item: Expected `int`, got `str`"):
            await bench.total(words())


@bounded()
async def test_the_iterator_is_left_alone_when_the_call_is_over() -> None:
    ended = trio.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        finally:
            ended.set()

    async with served() as (bench, _, _, _):
        async with aclosing(endless()) as values:
            with trio.move_on_after(0.1):
                await bench.total(values)
        assert ended.is_set()


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
@bounded()
async def test_a_stream_as_an_argument(kind: str) -> None:
    data = named("body", 3_000_000)
    async with served(kind) as (bench, worker, here, _):

        async def send(stream: muxpy.Stream) -> None:
            await stream.send_all(data)

        assert await bench.store("a", await rpc.stream(here, send)) == len(data)
        assert worker.stored["a"] == data
        async with trio.open_nursery() as nursery:
            stream = await rpc.stream(here)
            nursery.start_soon(bench.store, "b", stream)
            await stream.send_all(data[:1000])
            await stream.send_eof()
        assert worker.stored["b"] == data[:1000]


@pytest.mark.parametrize("kind", ["memory", "tcp", "tls"])
@bounded()
async def test_a_stream_as_a_result(kind: str) -> None:
    async with served(kind) as (bench, _, _, _):
        async with await bench.fetch(3_000_000) as stream:
            assert len(await read_all(stream)) == 3_000_000
        async with await bench.fetch(5) as stream:
            assert await stream.receive_some() == bytes(5)


@bounded()
async def test_a_handler_that_raises_resets_the_streams_it_was_given() -> None:
    class Broken(Worker):
        async def store(self, name: str, body: muxpy.Stream) -> int:
            raise Refused

    async with served(worker=Broken()) as (bench, _, here, _):
        stream = await rpc.stream(here)
        with pytest.raises(Refused):
            await bench.store("a", stream)
        assert await stream.wait_ended() is not None


@bounded(1000)
async def test_streams_that_nobody_names_are_reset(autojump_clock: trio.testing.MockClock) -> None:
    async with served() as (bench, _, here, _):
        await bench.add(1)
        stream = await rpc.stream(here)
        await stream.send_all(b"x")
        cut = await stream.wait_ended()
        assert cut is not None
        assert await bench.add(1) == 2


@bounded(1000)
async def test_values_for_a_session_that_has_ended_leave_nobody_waiting(autojump_clock: trio.testing.MockClock) -> None:
    """It starts no task for them, and nobody waits for that task."""
    async with session_pair() as (here, _):
        stream = await here.open_stream()
        here.kill()
        sender = ItemSender(here, stream, numbers(3), bytes)
        await sender.stopped()


@bounded(1000)
async def test_an_interceptor_sees_that_a_call_is_cancelled_between_values(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said: list[str] = []

    @asynccontextmanager
    async def note(call: rpc.Call) -> AsyncIterator[None]:
        said.append("in")
        try:
            yield
        finally:
            said.append("out")

    async with served() as (_, worker, here, _):
        values = rpc.client(here, Bench, interceptors=[note]).count(3, pause=10)
        with trio.move_on_after(5):
            async for _ in values:
                pass
        assert said == ["in", "out"]
        with pytest.raises(StopAsyncIteration):
            await anext(values)
        await wait_all_tasks_blocked()
        assert worker.running == 0

"""The tasks of `serve_streams`: one handles stream after stream."""

from __future__ import annotations

import gc
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxpy import StreamReset
from muxpy.session._handlers import MOST_IDLE
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    import muxpy

who: ContextVar[str] = ContextVar("who", default="nobody")


class Spawned(trio.abc.Instrument):
    """Counts tasks that begin and end."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.begun += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self.ended += 1


class Steps(trio.abc.Instrument):
    """Counts passes of the scheduler, steps of tasks, and those of handlers."""

    def __init__(self) -> None:
        self.passes = self.steps = self.handlers = 0

    def before_io_wait(self, timeout: float) -> None:
        self.passes += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        self.handlers += task.name.endswith("Handlers._run")


async def call(session: muxpy.Session, question: bytes) -> bytes:
    async with await session.open_stream() as stream:
        await stream.send_all(question, end=True)
        return await read_all(stream)


@bounded()
async def test_one_task_handles_stream_after_stream_each_in_a_fresh_context() -> None:
    seen: list[str] = []

    async def answer(stream: muxpy.Stream) -> None:
        seen.append(who.get())
        who.set("an earlier handler")
        await stream.send_all(await read_all(stream), end=True)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        who.set("the server")
        nursery.start_soon(server.serve_streams, answer)
        await wait_all_tasks_blocked()
        spawned = Spawned()
        trio.lowlevel.add_instrument(spawned)
        for number in range(20):
            assert await call(client, b"%d" % number) == b"%d" % number
        trio.lowlevel.remove_instrument(spawned)
        assert spawned.begun == 1
        assert seen == ["the server"] * 20
        nursery.cancel_scope.cancel()


async def call_all(session: muxpy.Session, count: int) -> list[bytes]:
    """So many calls whose streams come in one read, and their answers."""
    await wait_all_tasks_blocked()
    return [await read_all(stream) for stream in [session.open_stream_nowait(fin=True) for _ in range(count)]]


@bounded()
async def test_handlers_that_wait_for_nothing_share_a_task_and_a_step(mock_clock: trio.testing.MockClock) -> None:
    steps: list[int] = []

    async def answer(stream: muxpy.Stream) -> None:
        steps.append(passed.steps)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        await wait_all_tasks_blocked()
        spawned, passed = Spawned(), Steps()
        trio.lowlevel.add_instrument(spawned)
        trio.lowlevel.add_instrument(passed)
        assert await call_all(client, 20) == [b""] * 20
        trio.lowlevel.remove_instrument(spawned)
        trio.lowlevel.remove_instrument(passed)
        assert (len(steps), len(set(steps))) == (20, 1)
        assert spawned.begun == 2  # the other one sees that nothing is left
        assert passed.handlers == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("slow", [range(20), range(10), range(10, 20), [0], [19]])
@bounded()
async def test_no_handler_waits_for_another_one(slow: range | list[int]) -> None:
    """Neither for one that waits itself, nor for one that waits for all others to have begun."""
    begun: list[int] = []
    all_have = trio.Event()

    async def answer(stream: muxpy.Stream) -> None:
        begun.append(stream.id)
        if len(begun) == 20:
            all_have.set()
        if len(begun) - 1 in slow:
            await all_have.wait()

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        for _ in range(2):  # with tasks that are new, and with those that are idle then
            assert await call_all(client, 20) == [b""] * 20
            assert begun == sorted(begun)
            begun.clear()
        nursery.cancel_scope.cancel()


@bounded()
async def test_handlers_of_one_read_begin_within_three_passes_though_all_wait(
    mock_clock: trio.testing.MockClock,
) -> None:
    """The first one waits, the second task sees that, and all others begin in the pass after it."""
    passes: list[int] = []
    all_have, go = trio.Event(), trio.Event()

    async def answer(stream: muxpy.Stream) -> None:
        passes.append(passed.passes)
        if len(passes) == 20:
            all_have.set()
        await go.wait()
        await stream.send_all(b"answer", end=True)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        nursery.start_soon(call_all, client, 20)
        passed = Steps()
        trio.lowlevel.add_instrument(passed)
        await all_have.wait()
        trio.lowlevel.remove_instrument(passed)
        assert passes[-1] - passes[0] <= 2
        go.set()
        nursery.cancel_scope.cancel()


class Uncomparable:
    """A value that nothing can be compared with, as arrays are."""

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = None  # type: ignore[assignment] # as with arrays


@pytest.mark.parametrize("changes", ["sets", "sets again", "sets back"])
@bounded()
async def test_handlers_of_one_read_see_nothing_of_each_others_contexts(changes: str) -> None:
    mine, inner = object(), object()
    variable: ContextVar[object] = ContextVar("variable")
    unset: ContextVar[object] = ContextVar("unset")
    seen: list[object] = []

    async def answer(stream: muxpy.Stream) -> None:
        seen.append((variable.get(), unset.get(None)))
        if changes == "sets":
            unset.set(inner)
        else:
            token = variable.set(Uncomparable() if changes == "sets again" else inner)
            if changes == "sets back":
                variable.reset(token)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        variable.set(mine)
        nursery.start_soon(server.serve_streams, answer)
        await wait_all_tasks_blocked()
        variable.set(None)
        assert await call_all(client, 20) == [b""] * 20
        assert seen == [(mine, None)] * 20
        nursery.cancel_scope.cancel()


@bounded()
async def test_streams_whose_handlers_have_not_begun_are_reset_when_serving_is_cancelled() -> None:
    begun = 0

    async def answer(stream: muxpy.Stream) -> None:
        nonlocal begun
        begun += 1
        scope.cancel()
        await trio.lowlevel.checkpoint()

    async def serve(session: muxpy.Session) -> None:
        with scope:
            await session.serve_streams(answer)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(serve, server)
        await wait_all_tasks_blocked()
        for stream in [client.open_stream_nowait(fin=True) for _ in range(10)]:
            with pytest.raises(StreamReset):
                await stream.receive_some()
        assert begun == 10
        nursery.cancel_scope.cancel()


@bounded()
async def test_no_more_than_some_idle_tasks_are_kept_and_all_end_with_the_session() -> None:
    count = MOST_IDLE + 10
    go = trio.Event()

    async def answer(stream: muxpy.Stream) -> None:
        await go.wait()
        await stream.send_all(b"answer", end=True)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        await wait_all_tasks_blocked()
        spawned = Spawned()
        trio.lowlevel.add_instrument(spawned)
        streams = [await client.open_stream() for _ in range(count)]
        await wait_all_tasks_blocked()
        assert spawned.begun == count
        go.set()
        for stream in streams:
            assert await read_all(stream) == b"answer"
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert spawned.ended == count - MOST_IDLE
        await client.aclose()  # and `serve_streams` returns, which ends the nursery
    trio.lowlevel.remove_instrument(spawned)


@pytest.mark.parametrize("fails", [False, True])
@bounded()
async def test_an_idle_task_keeps_nothing_of_its_last_stream(fails: bool) -> None:
    handled: list[weakref.ref[muxpy.Stream]] = []

    async def answer(stream: muxpy.Stream) -> None:
        handled.append(weakref.ref(stream))
        if fails:
            raise trio.BrokenResourceError
        await stream.send_all(b"answer", end=True)

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        gc.disable()  # without it, too
        try:
            async with await client.open_stream() as stream:
                await stream.send_all(b"question", end=True)
                if not fails:
                    assert await read_all(stream) == b"answer"
            await wait_all_tasks_blocked()
            assert [ref() for ref in handled] == [None]
        finally:
            gc.enable()
        nursery.cancel_scope.cancel()


class RestAtStep(trio.abc.Instrument):
    """Lets idle tasks end just before the nth step from now, as another task of the same pass might."""

    def __init__(self, nth: int, rest: Callable[[], None]) -> None:
        self._left = nth
        self._rest = rest

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if not self._left:
            self._rest()


@bounded()
async def test_a_task_that_was_to_end_handles_a_stream_in_a_fresh_context() -> None:
    """Streams come in the pass in which idle tasks are let go of."""
    seen: list[str] = []

    async def answer(stream: muxpy.Stream) -> None:
        seen.append(who.get())
        who.set("an earlier handler")

    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        who.set("the server")
        nursery.start_soon(server.serve_streams, answer)
        await wait_all_tasks_blocked()
        for number in range(100):
            rest = RestAtStep(1 + number % 12, server._engine.backlog.rest)
            trio.lowlevel.add_instrument(rest)
            stream = client.open_stream_nowait()
            stream.send_nowait(b"x")
            await wait_all_tasks_blocked()
            trio.lowlevel.remove_instrument(rest)
            await stream.aclose()
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == ["the server"] * 100

"""The tasks of `serve_streams`: one handles stream after stream."""

from __future__ import annotations

import gc
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxpy.session._handlers import MOST_IDLE
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
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

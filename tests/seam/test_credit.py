"""All streams share a send window: they wait for it in line, and nobody is woken for it one by one."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import muxpy
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import Wakeups, bounded

from .core import CREDIT
from .scene import core_of, give_credit, state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUANTUM = 0x3FFF


@asynccontextmanager
async def without_credit(kind: str = "memory") -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    """A session whose server gives none back; what the client had of it is used up."""
    config = muxpy.SessionConfig(drain_timeout=5)
    async with session_pair(kind, client_config=config) as (client, server):
        core_of(server).gives_credit = False
        first, _ = await stream_pair(client, server)
        await first.send_all(bytes(CREDIT))
        first.reset()
        await wait_all_tasks_blocked()
        yield client, server
        server.kill()
        client.kill()


async def sends(session: muxpy.Session, sizes: list[int], nursery: trio.Nursery) -> list[muxpy.Stream]:
    """As many streams, and a task for each that sends so much on it."""
    streams = [await session.open_stream() for _ in sizes]
    for stream, size in zip(streams, sizes, strict=True):
        nursery.start_soon(stream.send_all, bytes(size))
    await wait_all_tasks_blocked()
    return streams


async def unread(session: muxpy.Session) -> list[int]:
    """What has arrived for each stream."""
    await wait_all_tasks_blocked()
    return [stream.incoming.buffered for stream in core_of(session).streams.values()]


@pytest.mark.parametrize("size", [100, 5_000])
@bounded()
async def test_no_more_is_sent_than_all_together_may(size: int, autojump_clock: MockClock) -> None:
    """Small messages, which pass the line, and others."""
    async with without_credit() as (client, server), trio.open_nursery() as nursery:
        await sends(client, [size] * 10, nursery)
        assert await unread(server) == [0] * 10
        give_credit(server, 3 * size + 1)
        assert sum(await unread(server)) == 3 * size + 1
        give_credit(server, 10 * size)
        assert await unread(server) == [size] * 10
        nursery.cancel_scope.cancel()


@bounded()
async def test_streams_keep_their_turns_however_little_comes(autojump_clock: MockClock) -> None:
    async with without_credit() as (client, server), trio.open_nursery() as nursery:
        await sends(client, [30_000] * 3, nursery)
        for _ in range(3 * QUANTUM // 500):
            give_credit(server, 500)
            await wait_all_tasks_blocked()
        for count in await unread(server):
            assert abs(count - QUANTUM) <= 1_000
        nursery.cancel_scope.cancel()


async def woken(senders: int) -> tuple[int, int, int]:
    """Steps of tasks with so many senders in line: as long as no credit comes, when it comes for a part of what the
    first one sends, and for the rest of that."""
    async with without_credit() as (client, server), trio.open_nursery() as nursery:
        await sends(client, [5_000] * senders, nursery)
        counts = []
        for credit in (0, 4_000, 1_000):
            if credit:
                give_credit(server, credit)
            with Wakeups() as steps:
                await trio.sleep(10)
            counts.append(steps.count)
        nursery.cancel_scope.cancel()
    without, part, whole = counts
    return without, part, whole


@bounded()
async def test_nobody_is_woken_for_nothing(autojump_clock: MockClock) -> None:
    without, part, whole = await woken(2)
    assert without == 0
    assert whole == part + 1  # the sender
    assert await woken(50) == (without, part, whole)


@bounded()
async def test_what_arrives_wakes_no_writer_in_vain(autojump_clock: MockClock) -> None:
    counts = []
    for senders in (0, 10):
        async with without_credit() as (client, server), trio.open_nursery() as nursery:
            near, far = await stream_pair(client, server)
            await sends(client, [5_000] * senders, nursery)
            core_of(client).gives_credit = False  # which would be something to write
            with Wakeups() as steps:
                for _ in range(20):
                    await far.send_all(b"news")
                    assert await near.receive_some() == b"news"
            counts.append(steps.count)
            nursery.cancel_scope.cancel()
    assert abs(counts[0] - counts[1]) < 10


@bounded()
async def test_closing_waits_for_credit_and_does_not_spin(autojump_clock: MockClock) -> None:
    async with without_credit() as (client, server):
        stream, far = await stream_pair(client, server)
        failed: list[muxpy.SessionClosed] = []

        async def send() -> None:
            with pytest.raises(muxpy.SessionClosed) as caught:
                await stream.send_all(bytes(5_000))
            failed.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            begun = trio.current_time()
            nursery.start_soon(client.aclose)
            await wait_all_tasks_blocked()
            with Wakeups() as draining:
                await trio.sleep(4)
            assert draining.count == 0
            assert failed == []
        assert trio.current_time() - begun == pytest.approx(5)
        assert len(failed) == 1
        assert (await server.wait()).remote_code == muxpy.ErrorCode.NO_ERROR  # the last words need no credit
        with pytest.raises(muxpy.SessionClosed):
            await far.receive_some()


@bounded()
async def test_a_close_that_gets_credit_in_time_loses_nothing(autojump_clock: MockClock) -> None:
    async with without_credit() as (client, server), trio.open_nursery() as nursery:
        stream, far = await stream_pair(client, server)

        async def send() -> None:
            await stream.send_all(bytes(5_000))
            await stream.aclose()

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        nursery.start_soon(client.aclose)
        await trio.sleep(1)
        give_credit(server, 5_000)
        received = 0
        while part := await far.receive_some():
            received += len(part)
        assert received == 5_000


@pytest.mark.parametrize("how", ["cancelled", "reset", "reset by the peer"])
@bounded()
async def test_who_gives_up_does_not_stay_in_line(how: str, autojump_clock: MockClock) -> None:
    """Or the line would grow with every stream that comes and goes while there is no credit."""
    async with without_credit() as (client, server), trio.open_nursery() as nursery:

        async def send(stream: muxpy.Stream) -> None:
            with suppress(muxpy.StreamReset, trio.ClosedResourceError), trio.move_on_after(10):
                await stream.send_all(bytes(5_000))

        kept, _ = await stream_pair(client, server)
        nursery.start_soon(kept.send_all, bytes(5_000))
        for _ in range(5):
            near, far = await stream_pair(client, server)
            nursery.start_soon(send, near)
            await wait_all_tasks_blocked()
            assert client.statistics().streams_waiting_to_send == 2
            if how == "cancelled":
                await trio.sleep(11)
            else:
                (near if how == "reset" else far).reset()
            await wait_all_tasks_blocked()
            assert client.statistics().streams_waiting_to_send == 1
        give_credit(server, 10_000)
        await wait_all_tasks_blocked()
        assert state_of(kept).sent == 5_000

"""Receive windows over a link with a round trip, on Trio's mock clock; and how often tasks are woken."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import encode_syn
from tests.helpers.links import delayed_pair
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import Wakeups, bounded

Clock = trio.testing.MockClock

ROUND_TRIP = 0.1
WINDOW = 65536
MIB = 1 << 20


async def transfer(
    size: int, *, pause: float = 0.0, read_size: int | None = None, config: muxpy.SessionConfig | None = None
) -> tuple[list[float], muxpy.SessionStatistics]:
    """Send `size` bytes over a link of 100 ms; when each MiB (or the rest) had arrived, and the receiver's figures."""
    one, two = delayed_pair(ROUND_TRIP)
    arrivals: list[float] = []
    async with (
        muxpy.open_session(one, client=True) as client,
        muxpy.open_session(two, client=False, config=config) as server,
        trio.open_nursery() as nursery,
    ):
        near, far = await stream_pair(client, server)

        async def send() -> None:
            async with near:
                await near.send_all(bytes(size))

        nursery.start_soon(send)
        start = trio.current_time()
        received = 0
        while part := await far.receive_some(read_size):
            received += len(part)
            while received >= (len(arrivals) + 1) * MIB:
                arrivals.append(trio.current_time() - start)
            if pause:
                await trio.sleep(pause)
        assert received == size
        statistics = server.statistics()
        await far.aclose()
    return arrivals, statistics


@bounded(600)
async def test_a_window_grows_with_a_reader_that_keeps_up(autojump_clock: Clock) -> None:
    arrivals, statistics = await transfer(32 * MIB)
    assert statistics.largest_window > 16 * WINDOW
    first, last = arrivals[0], arrivals[-1] - arrivals[-2]
    # At 64 KiB a round trip, one MiB takes 1.6 s.
    assert first < 1.6
    assert last < first / 4
    assert arrivals[-1] < 32 * 1.6 / 8


@bounded(600)
async def test_the_round_trip_is_measured(autojump_clock: Clock) -> None:
    _, statistics = await transfer(MIB)
    assert statistics.rtt == pytest.approx(ROUND_TRIP, rel=0.01)


@bounded(600)
async def test_a_window_stays_where_the_budget_holds_it(autojump_clock: Clock) -> None:
    _, statistics = await transfer(2 * MIB, config=muxpy.SessionConfig(receive_budget=0))
    assert statistics.largest_window <= WINDOW
    assert statistics.receive_budget_left == 0


@bounded(600)
async def test_a_window_stays_within_its_own_limit(autojump_clock: Clock) -> None:
    _, statistics = await transfer(8 * MIB, config=muxpy.SessionConfig(max_window=3 * WINDOW))
    assert statistics.largest_window == 3 * WINDOW


@bounded(600)
async def test_the_window_of_a_slow_reader_does_not_grow(autojump_clock: Clock) -> None:
    # 4 KiB every 20 ms: 200 KiB/s, less than the 640 KiB/s that the first window allows.
    _, statistics = await transfer(MIB, pause=0.02, read_size=4096)
    assert statistics.largest_window <= WINDOW


@bounded(600)
async def test_the_window_of_a_reader_with_pauses_does_not_grow(autojump_clock: Clock) -> None:
    """It reads all there is at once, but seldom: data lay unread for several round trips."""
    _, statistics = await transfer(MIB, pause=5 * ROUND_TRIP)
    assert statistics.largest_window <= WINDOW


@bounded(600)
async def test_what_windows_grew_by_comes_back_with_the_stream(autojump_clock: Clock) -> None:
    one, two = delayed_pair(ROUND_TRIP)
    config = muxpy.SessionConfig(receive_budget=MIB)
    async with (
        muxpy.open_session(one, client=True) as client,
        muxpy.open_session(two, client=False, config=config) as server,
    ):
        for _ in range(3):
            near, far = await stream_pair(client, server)
            async with trio.open_nursery() as nursery:

                async def send(stream: muxpy.Stream = near) -> None:
                    await stream.send_all(bytes(8 * MIB))
                    await stream.aclose()

                nursery.start_soon(send)
                while await far.receive_some():
                    pass
            assert server.statistics().largest_window > 65536
            assert server.statistics().receive_budget_left == MIB  # at the FIN: nothing more can come
            await far.aclose()


@bounded(600)
async def test_unread_data_is_bounded_by_the_windows(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=[], server_extensions=[]) as (client, server):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                near, _ = await stream_pair(client, server)
                nursery.start_soon(near.send_all, bytes(MIB))
            await trio.sleep(10)
            assert server.statistics().data_received == 10 * WINDOW
            nursery.cancel_scope.cancel()
        client.kill()


# ---- wakeups ----


@bounded(2000)
async def test_an_idle_session_wakes_nobody(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=[], server_extensions=[]) as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(100)]
        await wait_all_tasks_blocked()
        with Wakeups() as wakeups:
            await trio.sleep(1000)
        assert wakeups.count == 0
        for pair in pairs:
            for stream in pair:
                stream.reset()


@bounded()
async def test_data_wakes_only_the_stream_that_it_is_for(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer), trio.open_nursery() as nursery:
        woken = []

        async def receive(stream: muxpy.Stream) -> None:
            while await stream.receive_some():
                woken.append(stream.id)

        await peer.send(*[encode_syn(3 + 2 * number) for number in range(100)])
        for _ in range(100):
            nursery.start_soon(receive, await session.accept_stream())
        await wait_all_tasks_blocked()
        with Wakeups() as wakeups:
            await peer.send(data(21, b"x"), data(21, b"y"), data(43, b"z"))
            await wait_all_tasks_blocked()
        assert sorted(woken) == [21, 43]
        # The two receivers, the reader and what the mock transport costs; none of the 98 others.
        assert wakeups.count <= 8
        nursery.cancel_scope.cancel()


@bounded()
async def test_many_answers_go_out_in_few_writes(autojump_clock: Clock) -> None:
    """A hundred tasks are woken by one read; their answers are gathered."""
    async with raw_session(client=False) as (session, peer), trio.open_nursery() as nursery:

        async def answer(stream: muxpy.Stream) -> None:
            while part := await stream.receive_some():
                await stream.send_all(part)

        await peer.send(*[encode_syn(3 + 2 * number) for number in range(100)])
        for _ in range(100):
            nursery.start_soon(answer, await session.accept_stream())
        await wait_all_tasks_blocked()
        before = session.statistics().writes
        await peer.send(*[data(3 + 2 * number, b"question") for number in range(100)])
        await wait_all_tasks_blocked()
        assert session.statistics().writes - before <= 3
        nursery.cancel_scope.cancel()

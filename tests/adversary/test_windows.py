"""Slow readers, and tricks with windows: what one stream can cost, and what the others see of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import muxpy
from muxpy.session._statistics import of_stream
from tests.frame import wire
from tests.helpers.load import until

from .scene import HOLDS, READS, SOAKS, Scene, stage

Clock = trio.testing.MockClock

PIECE = bytes(16_000)
ROUND_TRIP = 0.05
TLS = pytest.mark.parametrize("kind", ["tcp", "tls"])
ROLES = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


def window_full(stream_id: int) -> bytes:
    return wire.data(stream_id, PIECE) * 4 + wire.data(stream_id, bytes(wire.WINDOW - 4 * len(PIECE)))


async def open_with_type(scene: Scene, stream_type: int | None) -> int:
    """A new stream of the peer's."""
    stream_id = next(scene.ids)
    await scene.send(wire.syn(stream_id, stream_type=stream_type))
    return stream_id


def state(scene: Scene, stream_id: int) -> muxpy.StreamStatistics:
    return of_stream(scene.session._engine.core.streams[stream_id], trio.current_time())


@ROLES
@TLS
async def test_a_stream_that_nobody_reads_costs_its_window_and_stops_nobody(
    kind: str, client: bool, mock_clock: Clock
) -> None:
    async with stage(kind, client=client) as scene:
        stuck = [await open_with_type(scene, HOLDS) for _ in range(20)]
        await scene.send(*map(window_full, stuck))
        reader = await open_with_type(scene, READS)
        scene.granted[reader] = wire.WINDOW
        for _ in range(200):  # 3 MB beside it
            await until(lambda: scene.granted[reader] >= len(PIECE))
            scene.granted[reader] -= len(PIECE)
            await scene.send(wire.data(reader, PIECE))
        await scene.exchange(20_000)
        for stream_id in stuck:
            statistics = state(scene, stream_id)
            assert statistics.unread == wire.WINDOW
            assert statistics.receive_window == 0
            assert statistics.receive_window_size == wire.WINDOW
            assert not scene.granted[stream_id]


@TLS
async def test_a_window_does_not_grow_for_what_nobody_reads(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False) as scene:
        before = scene.session.statistics().receive_budget_left
        stuck = [await open_with_type(scene, HOLDS) for _ in range(5)]
        for _ in range(4):
            for stream_id in stuck:
                await scene.send(wire.data(stream_id, PIECE))
            await scene.settle()
        statistics = scene.session.statistics()
        assert statistics.receive_budget_left == before
        assert sum(scene.granted[stream_id] for stream_id in stuck) == 0


@TLS
async def test_windows_that_have_grown_are_filled_to_the_last_byte(kind: str, mock_clock: Clock) -> None:
    """The most that a session can be made to hold: every window, and all of the budget.

    There is a round trip, on Trio's clock, and in each the peer sends all that it may: its windows are what limits it,
    however slow the machine is.
    """
    config = muxpy.SessionConfig(receive_budget=100_000, max_streams=3)
    async with stage(kind, client=False, config=config) as scene:
        streams = [await open_with_type(scene, SOAKS) for _ in range(2)]
        scene.granted.update(dict.fromkeys(streams, wire.WINDOW))

        async def spend(stream_id: int, size: int) -> None:
            scene.granted[stream_id] -= size
            for start in range(0, size, len(PIECE)):
                await scene.send(wire.data(stream_id, PIECE[: size - start]))

        async def spend_all() -> None:
            for stream_id in streams:
                await spend(stream_id, scene.granted[stream_id])
            await scene.settle()

        while scene.session.statistics().receive_budget_left:
            await spend_all()
            mock_clock.jump(ROUND_TRIP)
        scene.dry = True
        for stream_id in streams:
            await spend(stream_id, 1)  # the last that is read
        await scene.settle()
        await spend_all()
        unread = sum(state(scene, stream_id).unread for stream_id in streams)
        assert wire.WINDOW < unread <= 2 * wire.WINDOW + config.receive_budget
        scene.seen.clear()
        await scene.send(*(wire.data(stream_id, b"x") for stream_id in streams))
        await scene.settle()
        assert scene.seen == [("RST", stream_id, muxpy.ErrorCode.FLOW_CONTROL_ERROR) for stream_id in streams]
        assert scene.session.statistics().receive_budget_left == config.receive_budget


@TLS
async def test_a_frame_that_would_pass_the_window_is_refused_when_its_header_came(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False) as scene:
        stream_id = await open_with_type(scene, HOLDS)
        too_long = wire.data(stream_id, bytes(16_383))
        await scene.send(*[wire.data(stream_id, PIECE)] * 4, too_long[:100])
        await until(lambda: bool(scene.seen))
        assert scene.seen == [("RST", stream_id, muxpy.ErrorCode.FLOW_CONTROL_ERROR)]
        await scene.send(too_long[100:])
        await scene.exchange()
        assert len(scene.seen) == 1


@ROLES
@TLS
async def test_crumbs_of_window_are_not_sent_in_frames_of_their_own(kind: str, client: bool, mock_clock: Clock) -> None:
    """Time stands still: crumbs are held back for a while, and that must not pass before all of them have come."""
    async with stage(kind, client=client) as scene, trio.open_nursery() as nursery:
        stream = await scene.session.open_stream()
        nursery.start_soon(stream.send_all, bytes(200_000))
        await until(lambda: stream.statistics().data_sent == wire.WINDOW)
        await scene.settle()
        scene.seen.clear()
        for crumb in range(1, 601):
            await scene.send(wire.wnd_inc(stream.id, 10))
            updates = crumb
            await until(lambda due=updates: scene.session.statistics().window_updates_received >= due)  # type: ignore[misc]
        await scene.settle()
        assert [(answer.name, len(answer.value)) for answer in scene.seen] == [("DATA", 4100)]  # type: ignore[arg-type]
        # What is less than that, but all that there is, is not held back.
        await scene.send(wire.wnd_inc(stream.id, 200_000 - wire.WINDOW - 4100 - 1900 - 7))
        await until(lambda: stream.statistics().data_sent == 200_000 - 7)
        await scene.send(wire.wnd_inc(stream.id, 7))
        await until(lambda: stream.statistics().data_sent == 200_000)

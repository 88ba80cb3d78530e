"""Heartbeats with the live Go peer, with times shortened on both sides."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import muxpy
from tests.helpers.tasks import LIMIT
from tests.interop.link import check_usable, linked, open_by, until

if TYPE_CHECKING:
    from tests.interop.link import Role

pytestmark = [pytest.mark.live_peer, pytest.mark.usefixtures("go_program")]

INTERVAL = 0.02
GO_TIMES = ("-heartbeat-interval", f"{INTERVAL}s", "-heartbeat-tolerance", f"{LIMIT}s")
OUR_TIMES = muxpy.SessionConfig(heartbeat_interval=INTERVAL, heartbeat_tolerance=LIMIT)
BEATS = 20
BEAT_SIZE = 4
"""Bytes."""


async def test_an_idle_session_lives_on_and_knows_its_round_trip(role: Role) -> None:
    async with linked(role, *GO_TIMES, config=OUR_TIMES) as (session, peer):
        # Each end sends its next beat when the last was answered: so many from Go and as many answers, or the like.
        await until(lambda: session.statistics().data_received >= 2 * BEATS * BEAT_SIZE)

        statistics = session.statistics()
        assert statistics.heartbeat
        assert statistics.rtt is not None
        assert statistics.latest_rtt is not None
        assert 0 < statistics.rtt <= statistics.latest_rtt
        await check_usable(session, peer)


async def test_go_is_answered_by_a_session_that_sends_no_heartbeats(role: Role) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None)
    async with linked(role, *GO_TIMES, config=config) as (session, peer):
        await until(lambda: session.statistics().data_received >= BEATS * BEAT_SIZE)  # Go's, each after an answer

        assert session.statistics().rtt is None
        await check_usable(session, peer)


async def test_a_go_peer_without_heartbeat_may_be_silent(role: Role, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with linked(role, "-no-heartbeat") as (session, peer):
        await until(lambda: session.statistics().frames_received > 0)  # Go's reset of our heartbeat stream
        with trio.move_on_after(30):
            await run_fast(mock_clock)

        assert session.silence() > 20
        assert not session.statistics().heartbeat
        await check_usable(session, peer)


async def test_go_closes_a_session_that_refuses_its_heartbeat(role: Role) -> None:
    """So `extensions=[]` is no choice with a Go peer."""
    times = ("-heartbeat-interval", "0.1s", "-heartbeat-tolerance", "1s")
    async with linked(role, *times, extensions=[]) as (session, _):
        end = await session.wait()

        assert (end.code, end.error, end.remote_code) == (0, None, 0)


async def test_a_go_peer_that_stopped_is_found_dead(role: Role, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with linked(role) as (session, peer), trio.open_nursery() as nursery:
        stream = await open_by("muxpy", session, peer)
        await until(lambda: session.statistics().heartbeat)

        peer.signal(signal.SIGSTOP)
        nursery.start_soon(run_fast, mock_clock)
        try:
            with pytest.raises(muxpy.SessionClosed) as caught:
                await stream.receive_some()
            end = await session.wait()
        finally:
            peer.signal(signal.SIGCONT)
        nursery.cancel_scope.cancel()

        assert isinstance(end.error, muxpy.HeartbeatLost)
        assert caught.value.__cause__ is end.error
        with pytest.raises(muxpy.SessionClosed):
            await session.open_stream()


async def run_fast(clock: trio.testing.MockClock) -> None:
    """In steps that are too short to be taken for a suspension."""
    while True:
        clock.jump(0.1)
        await trio.lowlevel.checkpoint()

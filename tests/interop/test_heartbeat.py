"""Heartbeats with the live Go peer, with times shortened on both sides."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from tests.interop.link import check_usable, linked, open_by, until

if TYPE_CHECKING:
    from tests.interop.link import Role

pytestmark = [pytest.mark.live_peer, pytest.mark.usefixtures("go_program")]

# Interval and tolerance together are what a busy machine may keep a process waiting before a test fails for it.
INTERVAL, TOLERANCE = 0.1, 1.0
LONGER = 2 * (INTERVAL + TOLERANCE)
GO_TIMES = ("-heartbeat-interval", f"{INTERVAL}s", "-heartbeat-tolerance", f"{TOLERANCE}s")
OUR_TIMES = muxpy.SessionConfig(heartbeat_interval=INTERVAL, heartbeat_tolerance=TOLERANCE)


async def test_an_idle_session_lives_on_and_knows_its_round_trip(role: Role) -> None:
    async with linked(role, *GO_TIMES, config=OUR_TIMES) as (session, peer):
        await trio.sleep(LONGER)

        statistics = session.statistics()
        assert statistics.heartbeat
        assert statistics.rtt is not None
        assert statistics.latest_rtt is not None
        assert 0 < statistics.rtt <= statistics.latest_rtt
        await check_usable(session, peer)


async def test_go_is_answered_by_a_session_that_sends_no_heartbeats(role: Role) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None)
    async with linked(role, *GO_TIMES, config=config) as (session, peer):
        await trio.sleep(LONGER)

        assert session.statistics().rtt is None
        await check_usable(session, peer)


async def test_a_go_peer_without_heartbeat_may_be_silent(role: Role) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=0.05, heartbeat_tolerance=0.25)
    async with linked(role, "-no-heartbeat", config=config) as (session, peer):
        await until(lambda: session.statistics().frames_received > 0)  # Go's reset of our heartbeat stream
        await trio.sleep(1)

        assert session.silence() > 0.3
        assert not session.statistics().heartbeat
        await check_usable(session, peer)


async def test_go_closes_a_session_that_refuses_its_heartbeat(role: Role) -> None:
    """So `extensions=[]` is no choice with a Go peer."""
    async with linked(role, *GO_TIMES, extensions=[]) as (session, _):
        end = await session.wait()

        assert (end.code, end.error, end.remote_code) == (0, None, 0)


async def test_a_go_peer_that_stopped_is_found_dead(role: Role) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=0.1, heartbeat_tolerance=0.4)
    async with linked(role, config=config) as (session, peer):
        stream = await open_by("muxpy", session, peer)
        await until(lambda: session.statistics().heartbeat)

        peer.signal(signal.SIGSTOP)
        try:
            with pytest.raises(muxpy.SessionClosed) as caught:
                await stream.receive_some()
            end = await session.wait()
        finally:
            peer.signal(signal.SIGCONT)

        assert isinstance(end.error, muxpy.HeartbeatLost)
        assert caught.value.__cause__ is end.error
        with pytest.raises(muxpy.SessionClosed):
            await session.open_stream()

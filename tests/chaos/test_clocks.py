"""Clocks that jump: the wall clock, which nothing may depend on, and Trio's own, as on a machine that was suspended."""

from __future__ import annotations

import random
import time

import pytest
import trio
import trio.testing

import muxpy
from muxpy.frame.muxado import DATA, SYN
from tests.helpers.pairs import session_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import assert_echo, bounded

from .rounds import play_round

HOUR = 3600.0
INTERVAL, TOLERANCE = 3.0, 10.0


@pytest.mark.parametrize("seed", range(2))
def test_a_wall_clock_that_jumps_means_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, honest = random.Random(seed), time.time
    monkeypatch.setattr(time, "time", lambda: honest() + rng.uniform(-10, 10) * HOUR)
    result = play_round("memory", seed, streams=60, fault="none")
    assert result.violations == []


async def wake_after(clock: trio.testing.MockClock, seconds: float) -> None:
    """The machine was suspended: no task ran, and all find that so much time has passed."""
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(seconds)


@bounded(5 * HOUR)
async def test_an_hour_of_sleep_ends_no_session_whose_peer_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server):
        for _ in range(3):
            await trio.sleep(10 * INTERVAL)
            await wake_after(autojump_clock, HOUR)
            await assert_echo(client, server)
        await trio.sleep(100)
        assert client.statistics().heartbeat
        assert server.statistics().heartbeat


@bounded(5 * HOUR)
async def test_a_peer_that_has_all_the_time_again_may_use_it(autojump_clock: trio.testing.MockClock) -> None:
    """Its answer to the beat before the sleep comes as late after it as it may."""
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        stream_id = (await peer.expect(SYN)).stream_id
        beat = (await peer.expect(DATA, stream_id)).body
        await wake_after(autojump_clock, HOUR)
        await trio.sleep(INTERVAL + TOLERANCE - 0.5)
        await peer.send(data(stream_id, beat))
        await peer.expect(DATA, stream_id)  # the next beat: it is taken for what it is
        assert session.statistics().heartbeat


@bounded(5 * HOUR)
async def test_a_peer_that_stays_silent_after_the_sleep_is_dead(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        await peer.expect(SYN)
        await wake_after(autojump_clock, HOUR)
        woken = trio.current_time()
        end = await session.wait()
        assert isinstance(end.error, muxpy.HeartbeatLost)
        assert trio.current_time() - woken == pytest.approx(INTERVAL + TOLERANCE, abs=INTERVAL)


@bounded(5 * HOUR)
async def test_a_drain_does_not_wait_for_ever_after_a_sleep(autojump_clock: trio.testing.MockClock) -> None:
    """The times of an end under way may be over at once; what matters is that it ends, and says how."""
    async with raw_session() as (session, _), trio.open_nursery() as nursery:
        await session.open_stream()
        nursery.start_soon(session.aclose)
        await wake_after(autojump_clock, HOUR)
        with trio.fail_after(60):
            assert str(await session.wait()) == "this side closed it"

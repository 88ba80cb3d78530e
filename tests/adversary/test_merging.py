"""Answers to a peer that does not read them wait, and those that say the same are merged."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

import muxpy
from muxpy.proto._limits import RECENT_RESETS
from tests.frame import wire
from tests.helpers.load import until

from .scene import READS, stage

Clock = trio.testing.MockClock


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_resets_that_wait_are_merged(kind: str, mock_clock: Clock) -> None:
    """More streams than are remembered as reset, again and again: each round would be answered anew."""
    count, rounds = RECENT_RESETS + 100, 6
    config = muxpy.SessionConfig(max_control_frames=3 * count, max_streams=16)
    async with stage(kind, client=False, config=config, narrow=True) as scene:
        ids = [(await scene.session.open_stream()).id for _ in range(count)]
        await scene.settle()
        await scene.go_deaf()
        scene.seen.clear()
        due = scene.session.statistics().bytes_received
        for number in range(1 + rounds):
            frames = b"".join(wire.data(each, b"x") if number else wire.rst(each, 7) for each in ids)
            due += len(frames)
            await scene.send(frames)
            await until(lambda due=due: scene.session.statistics().bytes_received >= due)  # type: ignore[misc]
        assert not scene.over
        assert scene.session.statistics().control_frames_waiting <= count
        scene.listen()
        await scene.settle()
        times = Counter(answer.stream_id for answer in scene.seen if answer.name == "RST")
        assert set(times) == set(ids)
        assert sum(times.values()) < 3 * count


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_window_updates_that_wait_are_merged(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False, narrow=True) as scene:
        ids = [next(scene.ids) for _ in range(50)]
        await scene.send(*(wire.syn(stream_id, stream_type=READS) for stream_id in ids))
        await scene.settle()
        await scene.go_deaf()
        for number in range(1, 31):  # past the first window: the peer need not read to know what it is given
            await scene.send(*(wire.data(stream_id, bytes(6500)) for stream_id in ids))
            await until(lambda due=50 * 6500 * number: scene.session.statistics().data_received >= due)  # type: ignore[misc]
            for _ in range(3):
                await trio.lowlevel.checkpoint()
        assert (
            min(state.incoming.received for state in scene.session._engine.core.streams.values() if state.id in ids)
            == 195_000
        )
        assert scene.session.statistics().control_frames_waiting <= 50
        scene.seen.clear()
        scene.listen()
        await scene.settle()
        updates = [answer for answer in scene.seen if answer.name == "WND_INC"]
        assert len(updates) <= 100
        assert Counter(answer.stream_id for answer in updates).keys() == set(ids)

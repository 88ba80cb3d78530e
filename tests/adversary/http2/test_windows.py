"""Windows that a peer shifts, dribbles or holds shut; and what nobody reads."""

from __future__ import annotations

from typing import Final

import pytest
import trio
import trio.testing

from muxpy import http
from muxpy.http._session import parts_of
from muxpy.proto._changes import Changes
from muxpy.proto._sending import CRUMB_WAIT
from muxpy.proto.http2 import Connection
from tests.helpers.instructions import instructions
from tests.helpers.load import until
from tests.helpers.memory import peak

from . import wire
from .scene import BODY, QUICK, Scene, Seen, read_in, stage

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

CALM: Final = http.ErrorCode.ENHANCE_YOUR_CALM
CANCEL: Final = http.ErrorCode.CANCEL
KIB: Final = 1024
WINDOW: Final = 4
"""SETTINGS_INITIAL_WINDOW_SIZE."""
FEW: Final = http.Config(reset_burst=100, reset_rate=0, linger_timeout=10)


def requests(count: int, path: str = "/big") -> bytes:
    return b"".join(wire.request(one, path, end=True) for one in range(3, 3 + 2 * count, 2))


# ---- windows that are shifted ----


def core_with_streams(count: int) -> Connection:
    core = Connection(QUICK, client=False, clock=lambda: 0.0)
    opened = core.receive(wire.BEGIN + requests(count)).opened
    for stream in opened:
        core.accepted(stream)
        core.sending.submit(stream, memoryview(BODY))
    assert len(opened) == count
    return core


def shifts(entries: int) -> bytes:
    return wire.settings(*[(WINDOW, 1000 * (n % 2)) for n in range(entries)])


def test_settings_that_shift_every_window_cost_one_look_at_each() -> None:
    """A hundred shifts in a frame of 600 bytes, against 250 streams."""

    def cost(entries: int, streams: int) -> int:
        core = core_with_streams(streams)
        frame = shifts(entries)
        return instructions(lambda: core.receive(frame))

    without = cost(100, 0)
    assert without <= 100 * 100
    assert cost(100, 250) - without <= 250 * 250
    assert cost(100, 250) - cost(2, 250) <= without


def test_settings_that_shift_every_window_count_as_work_for_each() -> None:
    core = core_with_streams(250)
    data = shifts(100) * 50
    turns = 0
    while data:
        frames = core.counters.frames_received
        data = bytes(core.receive(data, 512).rest)
        assert core.counters.frames_received - frames <= 2
        turns += 1
    assert turns >= 25
    assert core.error is None


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_settings_that_go_on_shifting_end_the_session(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, config=FEW) as scene:
        scene.keeps = False
        await scene.play([requests(200), shifts(100) * 100])
        assert not scene.over
        await scene.play([shifts(100)])
        await scene.check_that_it_ends(CALM, "the peer sends frames that do nothing too fast")


def test_more_entries_than_there_are_settings_end_the_session() -> None:
    core = core_with_streams(0)
    assert isinstance(core.receive(shifts(101)), Changes)
    assert core.error is not None
    assert core.error.code == CALM


# ---- dribbled windows (CVE-2019-9511, CVE-2019-9517) ----


async def test_windows_of_one_byte_bring_few_frames(mock_clock: Clock) -> None:
    """Each crumb would be a frame of ten bytes for thirteen, and wake a task. They wait for more."""
    async with stage() as scene:
        await scene.play([wire.settings((WINDOW, 0)), requests(10)])
        data = scene.counts["DATA"]
        for _ in range(100):
            await scene.send(*[wire.window_update(one, 1) for one in range(3, 23, 2)])
        await scene.settle()
        assert scene.counts["DATA"] - data <= 3 + 1
        for _ in range(3):
            mock_clock.jump(CRUMB_WAIT)
            await scene.settle()
        assert scene.counts["DATA"] - data <= 3 * 4 + 10 * 3
        await scene.check_that_it_lives()


async def test_dribbled_windows_end_the_streams(mock_clock: Clock) -> None:
    """Less than 512 bytes at a time is no progress, however long it goes on."""
    async with stage() as scene:
        await scene.play([wire.settings((WINDOW, 0)), requests(10)])
        resets: set[int] = set()
        for _ in range(70):
            await scene.send(*[wire.window_update(one, 100) for one in range(3, 23, 2)])
            mock_clock.jump(0.5)
            await scene.settle()
            resets |= {frame.stream_id for frame in scene.seen if frame == Seen("RST", frame.stream_id, CANCEL)}
        assert resets == set(range(3, 23, 2))
        await scene.check_that_it_lives()


@pytest.mark.parametrize("dribble", [0, 10], ids=["shut", "dribbled"])
async def test_a_window_of_the_connection_that_stays_shut_ends_the_session(dribble: int, mock_clock: Clock) -> None:
    """No stream is to blame, and the other streams cannot go on either."""
    async with stage(begin=False) as scene:
        await begin_with_little_credit(scene)
        await scene.send(requests(10))
        for _ in range(70):
            await scene.send(wire.window_update(0, dribble) if dribble else b"")
            await pass_time(scene, mock_clock, 0.5)
            if scene.over:
                break
        assert scene.over
        end = scene.session.end
        assert end is not None
        assert end.code == CALM
        assert "data waited for the connection's window for 30 s" in str(end.error)
        await scene.check_neighbour()


async def test_a_window_of_the_connection_that_is_slow_but_moves_is_kept(mock_clock: Clock) -> None:
    async with stage(begin=False) as scene:
        await begin_with_little_credit(scene)
        await scene.send(requests(10))
        for _ in range(200):
            await scene.send(wire.window_update(0, 600))
            await pass_time(scene, mock_clock, 0.5)
            await until(lambda: not scene.session.statistics().control_frames_waiting)
        assert not scene.over


async def begin_with_little_credit(scene: Scene) -> None:
    """Streams have large windows, the connection has its first 65,535 bytes."""
    await scene.begin(credit=0)
    await scene.send(wire.settings((WINDOW, 2**20)))
    await scene.exchange()


async def pass_time(scene: Scene, clock: Clock, seconds: float) -> None:
    await read_in(scene, scene.sent)
    clock.jump(seconds)
    for _ in range(20):
        await trio.lowlevel.checkpoint()


# ---- windows that stay shut ----


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_large_responses_with_windows_of_0_are_given_up(kind: str, mock_clock: Clock) -> None:
    """They keep one write of their handlers each, and not more than `send_timeout`."""
    async with stage(kind) as scene:
        await scene.play([wire.settings((WINDOW, 0))])
        with peak() as figures:
            await scene.play([requests(200)])
        assert figures[0] <= 200 * 10 * KIB
        assert scene.running == 200
        mock_clock.jump(29)
        await scene.settle()
        assert scene.running == 200
        mock_clock.jump(3)
        await scene.settle()
        await until(lambda: scene.running == 0)
        await scene.settle()
        assert {frame.stream_id for frame in scene.seen if frame.value == CANCEL} == set(range(3, 403, 2))
        await scene.check_that_it_lives()


# ---- a peer that does not read ----


async def test_heads_wait_for_room(mock_clock: Clock) -> None:
    """Heads have no window. A peer that does not read, and goes on asking, has 64 KiB of them and no more."""
    async with stage(narrow=True, config=http.Config(max_streams=1000)) as scene:
        scene.go_deaf()
        await scene.send(wire.request(3, "/plug", end=True), wire.window_update(3, 2**25))
        await until(lambda: parts_of(scene.session).engine.writer._batch is not None)
        await scene.send(*[wire.request(one, "/head", end=True) for one in range(5, 1605, 2)])
        await read_in(scene, scene.sent)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        waiting = len(parts_of(scene.session).core.sending.outbox.framed)
        assert 64 * KIB <= waiting <= 66 * KIB
        assert scene.running >= 700
        await scene.check_neighbour()


# ---- a body that nobody reads ----


async def test_an_unread_body_holds_up_nobody(mock_clock: Clock) -> None:
    """It fills its own window, and the connection's is given back on arrival (golang/go#16510)."""
    async with stage() as scene:
        await scene.play([wire.request(one, "/hold", method="POST") for one in range(3, 43, 2)])
        before = len(scene.updates)
        body = b"".join(wire.data(one, bytes(16_384)) * 4 for one in range(3, 43, 2))
        await scene.play([body])
        updates = [frame for frame in scene.updates[before:] if frame.stream_id == 0]
        assert sum(int(str(frame.value)) for frame in updates) >= 20 * 65_536 - 2**20
        assert {frame.stream_id for frame in scene.updates[before:]} <= {0, 1}
        await scene.check_that_it_lives()


async def test_an_unread_body_adds_no_turn_to_the_answers_of_others(mock_clock: Clock) -> None:
    """Counted in passes of the scheduler from question to answer: as many as without it."""

    async def passes(scene: Scene) -> int:
        await scene.settle()
        counter = Counter()
        trio.lowlevel.add_instrument(counter)
        try:
            for _ in range(20):
                await scene.exchange(100)
        finally:
            trio.lowlevel.remove_instrument(counter)
        return counter.steps

    async with stage() as scene:
        alone = await passes(scene)
        await scene.play([wire.request(3, "/hold", method="POST") + wire.data(3, bytes(16_384)) * 4])
        beside = await passes(scene)
        assert beside <= alone + 20
        await scene.check_that_it_lives()


class Counter(trio.abc.Instrument):
    """Steps of tasks."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1

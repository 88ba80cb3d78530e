"""Extensions that are slow, gone or broken, floods of their streams, and a heartbeat in a process that was held up."""

from __future__ import annotations

from itertools import islice

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import DATA, MIN_EXTENSION_TYPE, RST, SYN, encode_rst, encode_syn, encode_wnd_inc
from muxpy.session._suspension import sleep_fairly
from tests.helpers.links import PipeStream, pipe_pair
from tests.helpers.raw_peer import RawPeer, data, raw_session
from tests.helpers.tasks import bounded

Clock = trio.testing.MockClock

QUIET = muxpy.SessionConfig(heartbeat_interval=None)
KIND = MIN_EXTENSION_TYPE + 8
PLACES = 16


class Slow:
    """Takes no stream until it is told to, and then as many as it is told."""

    stream_type = KIND

    def __init__(self, count: int) -> None:
        self.start = trio.Event()
        self.count = count
        self.taken: list[muxpy.Stream] = []

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        await self.start.wait()
        while len(self.taken) < self.count:
            self.taken.append(await accept())


def waiting(session: muxpy.Session) -> int:
    return len(session._engine.extension_backlogs[KIND])


@pytest.mark.parametrize("reads", [1, 50])
@bounded()
async def test_streams_for_a_slow_extension_do_not_pile_up(reads: int, autojump_clock: Clock) -> None:
    slow = Slow(1)
    async with raw_session(client=False, config=QUIET, extensions=[slow]) as (session, peer):
        ids = iter(range(3, 100_000, 2))
        for _ in range(reads):
            await peer.send(
                *(encode_syn(stream_id, 0, KIND) + encode_rst(stream_id, 7) for stream_id in islice(ids, 200))
            )
            await wait_all_tasks_blocked()
            assert waiting(session) <= PLACES
        for _ in range(200 * reads - PLACES):
            assert (await peer.expect(RST)).code == muxpy.ErrorCode.REFUSED_STREAM
        # Once the extension has looked at them, there is room again, and those that were reset are not for it.
        slow.start.set()
        await wait_all_tasks_blocked()
        assert slow.taken == []
        assert waiting(session) == 0
        live = next(ids)
        await peer.send(encode_syn(live, 0, KIND))
        await wait_all_tasks_blocked()
        assert [stream.id for stream in slow.taken] == [live]
        session.kill()


@bounded()
async def test_a_stream_that_was_reset_while_it_waited_is_not_handed_out(autojump_clock: Clock) -> None:
    slow = Slow(2)
    async with raw_session(client=False, config=QUIET, extensions=[slow]) as (session, peer):
        await peer.send(*(encode_syn(stream_id, 0, KIND) for stream_id in (3, 5, 7)), encode_rst(5, 7))
        await wait_all_tasks_blocked()
        slow.start.set()
        await wait_all_tasks_blocked()
        assert [stream.id for stream in slow.taken] == [3, 7]
        session.kill()


@bounded()
async def test_streams_for_an_extension_that_has_returned_are_reset(autojump_clock: Clock) -> None:
    slow = Slow(0)
    async with raw_session(client=False, config=QUIET, extensions=[slow]) as (session, peer):
        await peer.send(encode_syn(3, 0, KIND), encode_syn(5, 0, KIND))
        await wait_all_tasks_blocked()
        slow.start.set()
        for stream_id in (3, 5):  # which waited
            assert (await peer.expect(RST, stream_id)).code == muxpy.ErrorCode.STREAM_CLOSED
        for stream_id in range(7, 107, 2):  # more than there are places
            await peer.send(encode_syn(stream_id, 0, KIND))
            assert (await peer.expect(RST, stream_id)).code == muxpy.ErrorCode.STREAM_CLOSED
        assert waiting(session) == 0
        assert session.statistics().streams_open == 0
        session.kill()


# ---- bugs ----


class Raising:
    """Raises after a second, or on the way out if the session is over before."""

    stream_type = KIND

    def __init__(self, error: Exception, *, in_nursery: bool = False) -> None:
        self.error = error
        self.in_nursery = in_nursery

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        if not self.in_nursery:
            await self._fail()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            await trio.sleep_forever()

    async def _fail(self) -> None:
        try:
            await trio.sleep(1)
        finally:
            raise self.error


LOST = [
    muxpy.StreamReset(3, 7, by_peer=True, retryable=False),
    muxpy.SessionClosed(None, "another session"),
    trio.BrokenResourceError("gone"),
]
BUGS = [*LOST, ZeroDivisionError("on purpose")]


def name(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize("in_nursery", [False, True])
@pytest.mark.parametrize("error", BUGS, ids=name)
@bounded()
async def test_a_bug_of_an_extension_comes_out_bare(error: Exception, in_nursery: bool, autojump_clock: Clock) -> None:
    ends = []

    async def run() -> None:
        async with raw_session(config=QUIET, extensions=[Raising(error, in_nursery=in_nursery)]) as (session, _):
            ends.append(await session.wait())

    with pytest.raises(type(error)) as info:
        await run()
    assert info.value is error
    assert [(end.code, end.error) for end in ends] == [(muxpy.ErrorCode.INTERNAL_ERROR, error)]


@bounded()
async def test_several_bugs_come_out_together(autojump_clock: Clock) -> None:
    group = ExceptionGroup("two", [ZeroDivisionError("one"), muxpy.SessionClosed(None, "other")])
    with pytest.raises(ExceptionGroup) as info:
        async with raw_session(config=QUIET, extensions=[Raising(group)]) as (session, _):
            await session.wait()
    assert info.value.exceptions == group.exceptions


@pytest.mark.parametrize("in_nursery", [False, True])
@pytest.mark.parametrize("error", [*LOST, ExceptionGroup("all", LOST)], ids=name)
@bounded()
async def test_that_the_session_ended_under_it_is_no_bug(
    error: Exception, in_nursery: bool, autojump_clock: Clock
) -> None:
    async with raw_session(config=QUIET, extensions=[Raising(error, in_nursery=in_nursery)]) as (session, _):
        await wait_all_tasks_blocked()
        session.kill()
        assert (await session.wait()).code == muxpy.ErrorCode.CANCEL
        await trio.sleep(1)


@pytest.mark.parametrize("in_nursery", [False, True])
@bounded()
async def test_a_bug_on_the_way_out_comes_out_bare(in_nursery: bool, autojump_clock: Clock) -> None:
    bug = ZeroDivisionError("in the cleanup")

    async def run() -> None:
        async with raw_session(config=QUIET, extensions=[Raising(bug, in_nursery=in_nursery)]) as (session, _):
            await wait_all_tasks_blocked()
            session.kill()
            await session.wait()

    came_out: list[BaseException] = []
    try:
        await run()
    except BaseException as error:  # a trio.Cancelled would vanish further out
        came_out.append(error)
    assert came_out == [bug]


# ---- a process that was held up ----


class TwoSteps(PipeStream):
    """Takes one more pass of the scheduler to read, as a socket does: one to notice that it is readable."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        received = await super().receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        return received


@bounded(1000)
async def test_a_process_that_was_held_up_does_not_take_its_peer_for_dead(mock_clock: Clock) -> None:
    near, far = pipe_pair()
    config = muxpy.SessionConfig(heartbeat_interval=1, heartbeat_tolerance=2)
    async with muxpy.open_session(TwoSteps(near.outgoing, near.incoming), client=True, config=config) as session:
        peer = RawPeer(far)
        stream_id = (await peer.expect(SYN)).stream_id
        beat = await peer.expect(DATA, stream_id)
        await peer.send(data(stream_id, beat.body))
        await wait_all_tasks_blocked()
        for _ in range(10):
            # The peer has spoken, and this process gets no turn for long: both are seen in the same pass.
            far.outgoing._put(encode_wnd_inc(stream_id, 1))
            mock_clock.jump(20)
            await wait_all_tasks_blocked()
            assert session._engine.ending.end is None
        mock_clock.jump(20)  # now nothing has come; but it was this process that slept
        await wait_all_tasks_blocked()
        assert session._engine.ending.end is None
        for _ in range(3):  # the peer has had its whole time again
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
        assert isinstance((await session.wait()).error, muxpy.HeartbeatLost)


@bounded()
async def test_what_rounding_leaves_of_a_time_is_slept(autojump_clock: Clock) -> None:
    """Or the watch would go round without sleeping for as long as the clock stands still."""
    before = trio.current_time()
    assert await sleep_fairly(1e-18)
    assert trio.current_time() > before

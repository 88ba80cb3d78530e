"""What a peer can make a session do is bounded: handlers that run, streams that wait, budget that is held."""

from __future__ import annotations

from itertools import islice

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import RST, SYN, encode_rst, encode_syn
from muxpy.proto import Batch, Opening, StreamState
from muxpy.proto.muxado import Connection
from muxpy.session._writer import Writer
from muxpy.transport._base import StreamTransport
from tests.helpers.links import Channel, pipe_pair
from tests.helpers.raw_peer import RawPeer, data, raw_session
from tests.helpers.tasks import bounded

Clock = trio.testing.MockClock

QUIET = muxpy.SessionConfig(heartbeat_interval=None)
LIMIT = 10


class Workers:
    """A handler that is busy until `finish`, and how many of it ran at once."""

    def __init__(self) -> None:
        self.running = self.most = self.started = 0
        self._done = trio.Event()

    async def __call__(self, stream: muxpy.Stream) -> None:
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._done.wait()
        finally:
            self.running -= 1

    async def finish(self) -> None:
        """All that run return."""
        self._done.set()
        await wait_all_tasks_blocked()
        self._done = trio.Event()


async def refused(peer: RawPeer, count: int) -> None:
    for _ in range(count):
        assert (await peer.expect(RST)).code == muxpy.ErrorCode.REFUSED_STREAM


# ---- handlers ----


@pytest.mark.parametrize("reads", [1, 100])
@bounded()
async def test_opening_and_resetting_runs_no_more_handlers_than_streams_are_allowed(
    reads: int, autojump_clock: Clock
) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_streams=LIMIT)
    workers = Workers()
    async with raw_session(client=False, config=config) as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(session.serve_streams, workers)
        await wait_all_tasks_blocked()
        ids = iter(range(3, 10_000, 2))
        for started in (LIMIT, 2 * LIMIT):
            pairs = [encode_syn(stream_id) + encode_rst(stream_id, 7) for stream_id in islice(ids, 100)]
            for first in range(0, 100, 100 // reads):
                await peer.send(*pairs[first : first + 100 // reads])
                await wait_all_tasks_blocked()
            assert workers.started == started
            assert workers.running == workers.most == LIMIT
            await refused(peer, 100 - LIMIT)
            await workers.finish()  # their places are free again
            assert workers.running == 0
        nursery.cancel_scope.cancel()


@bounded()
async def test_streams_that_waited_hold_their_places_once_they_are_served(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_streams=LIMIT)
    workers = Workers()
    async with raw_session(client=False, config=config) as (session, peer), trio.open_nursery() as nursery:
        await peer.send(*(encode_syn(stream_id) for stream_id in range(3, 23, 2)))
        await wait_all_tasks_blocked()
        nursery.start_soon(session.serve_streams, workers)
        await wait_all_tasks_blocked()
        assert workers.running == LIMIT
        await peer.send(*(encode_rst(stream_id, 7) for stream_id in range(3, 23, 2)))
        await peer.send(encode_syn(23))
        await refused(peer, 1)
        await workers.finish()
        await peer.send(encode_syn(25))
        await wait_all_tasks_blocked()
        assert workers.started == LIMIT + 1
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_stream_that_ended_with_unread_data_holds_its_place_while_it_is_handled(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_streams=LIMIT)
    held: list[muxpy.Stream] = []
    go_on = trio.Event()

    async def handler(stream: muxpy.Stream) -> None:
        await stream.send_eof()
        held.append(stream)
        await go_on.wait()

    async with raw_session(client=False, config=config) as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(session.serve_streams, handler)
        for stream_id in range(3, 63, 2):
            await peer.send(encode_syn(stream_id), data(stream_id, bytes(16_000), fin=True))
            await wait_all_tasks_blocked()
        assert len(held) == LIMIT
        assert sum(stream._state.incoming.buffered for stream in held) == LIMIT * 16_000
        go_on.set()
        await wait_all_tasks_blocked()
        await peer.send(encode_syn(63))
        await wait_all_tasks_blocked()
        assert len(held) == LIMIT + 1
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_handler_that_fails_gives_its_place_back(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_streams=1)
    handled = 0

    async def handler(stream: muxpy.Stream) -> None:
        nonlocal handled
        handled += 1
        raise ZeroDivisionError("on purpose")

    async with raw_session(client=False, config=config) as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(session.serve_streams, handler)
        for count, stream_id in enumerate((3, 5, 7), 1):
            await peer.send(encode_syn(stream_id), encode_rst(stream_id, 7))
            await wait_all_tasks_blocked()
            assert handled == count
        nursery.cancel_scope.cancel()


# ---- the writer ----


@bounded()
async def test_a_burst_of_answers_that_the_peer_reads_is_no_error(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_streams=0, max_control_frames=16)
    async with raw_session(client=False, config=config) as (session, peer):
        ids = iter(range(3, 100_000, 2))
        for _ in range(3):
            await peer.send(*(encode_syn(stream_id) for stream_id in islice(ids, 1000)))
            await refused(peer, 1000)
        assert session._engine.ending.end is None
        session.kill()


@bounded()
async def test_open_stream_gets_its_turn_while_bulk_never_stops(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_control_frames=20, max_streams=20)
    one, two = pipe_pair(Channel(65536, rate=4e6), Channel())
    opened = 0
    async with (
        muxpy.open_session(one, client=True, config=config) as client,
        muxpy.open_session(two, client=False, config=QUIET) as server,
    ):

        async def bulk() -> None:
            stream = await client.open_stream()
            while True:
                await stream.send_all(bytes(200_000))

        async def sink(stream: muxpy.Stream) -> None:
            async for _ in stream:
                pass

        async def opener() -> None:
            nonlocal opened
            await client.open_stream()
            opened += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_streams, sink)
            for _ in range(10):
                nursery.start_soon(bulk)
            await trio.sleep(0.5)
            for _ in range(40):
                nursery.start_soon(opener)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        assert opened == 40
        client.kill()
        server.kill()


class CountedStates(list[StreamState]):
    """Counts the searches through it."""

    searches = 0

    def __contains__(self, item: object) -> bool:
        self.searches += 1
        return super().__contains__(item)


@bounded()
async def test_a_cancelled_sender_is_not_searched_for_in_the_batch() -> None:
    core = Connection(QUIET, client=True, clock=trio.current_time)
    writer = Writer(StreamTransport(pipe_pair()[0]), core.sending, trio.current_time, None)
    states = [core.open(Opening()) for _ in range(100)]
    done = CountedStates(states)
    writer._batch = Batch([bytes(8)] * 100, done, 800)
    for state in states:
        writer.withdraw(state)
    assert done.searches == 0
    assert all(state.cut_short for state in states)


# ---- what closed streams hold ----


@pytest.mark.parametrize("how", ["reset", "cancelled aclose", "aclose"])
@bounded()
async def test_closing_an_ended_stream_gives_its_budget_back(how: str, autojump_clock: Clock) -> None:
    async with raw_session(config=QUIET) as (session, peer):
        whole = session.statistics().receive_budget_left
        stream = await session.open_stream(fin=True)
        grown = 1 << 20
        stream._state.incoming.size += grown
        stream._state.incoming.available += grown
        session._engine.core.budget.left -= grown
        await peer.expect(SYN)
        await peer.send(data(stream.id, bytes(1000), fin=True))
        await wait_all_tasks_blocked()
        assert session.statistics().receive_budget_left == whole - grown
        if how == "reset":
            stream.reset()
        else:
            with trio.CancelScope() as scope:
                if how == "cancelled aclose":
                    scope.cancel()
                await stream.aclose()
        assert session.statistics().receive_budget_left == whole
        session.kill()


@bounded()
async def test_streams_that_only_the_peer_has_not_ended_do_not_keep_a_session_busy(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, idle_timeout=5, drain_timeout=1)
    async with raw_session(config=config) as (session, _):
        start = trio.current_time()
        await trio.sleep(1)
        for _ in range(5):
            await (await session.open_stream()).aclose()
        assert session.statistics().streams_open == 5
        end = await session.wait()
        assert end.code == muxpy.ErrorCode.NO_ERROR
        assert 6 <= trio.current_time() - start <= 8

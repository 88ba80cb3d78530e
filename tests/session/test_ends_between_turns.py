"""A session ends, or its reader is interrupted, while something of it waits for its next turn."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import muxpy
from muxpy.session import _reader, _waiting
from muxpy.session._group import turns_of
from muxpy.transport._base import StreamTransport
from tests.frame import wire
from tests.helpers.inside import connection_of
from tests.helpers.load import until
from tests.helpers.pairs import tcp_pair, transport_pair
from tests.helpers.raw_peer import RawPeer
from tests.helpers.tasks import bounded, cancel_at, moments

QUIET = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=0.2)
MANY = 4 * _waiting.WOKEN_A_TURN


@bounded()
async def test_a_session_is_killed_while_its_refused_streams_wake_in_turns() -> None:
    near, far = await transport_pair("memory")
    peer = RawPeer(far)  # type: ignore[arg-type]
    woken: list[BaseException] = []
    async with muxpy.open_session(near, client=True, config=QUIET, extensions=[]) as session:

        async def wait_on(stream: muxpy.Stream) -> None:
            with pytest.raises(muxpy.StreamReset) as caught:
                await stream.receive_some()
            woken.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(MANY):
                nursery.start_soon(wait_on, await session.open_stream())
            await wait_all_tasks_blocked()
            await peer.send(wire.goaway(0))
            await until(lambda: bool(woken))
            assert len(woken) < MANY
            session.kill()
    assert len(woken) == MANY


@bounded()
async def test_a_session_without_ids_left_lingers_no_longer_for_streams_that_close_after_its_end(
    autojump_clock: MockClock,
) -> None:
    near, far = memory_stream_pair()
    async with muxpy.open_session(near, client=True, config=QUIET, extensions=[]) as session:
        connection_of(session)._table._next_id = 2**31 + 1 - 2 * MANY
        streams = [await session.open_stream() for _ in range(MANY)]

        async def close_all() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await streams[0].receive_some()
            for stream in streams:
                stream.reset()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_all)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            await far.send_all(wire.data(2, b"of no stream"))
            await session.wait()
        assert trio.current_time() - began == pytest.approx(QUIET.linger_timeout)


@bounded()
async def test_a_first_frame_in_the_last_moment_takes_nothing_of_what_came_with_it(mock_clock: MockClock) -> None:
    """More than a turn of it, so that the reader stops in between."""
    config = muxpy.SessionConfig(first_frame_timeout=3, heartbeat_interval=None)
    near, far = await tcp_pair()
    payload = os.urandom(3 * _reader.WORK_A_TURN)
    async with far, muxpy.open_session(near, client=False, config=config, extensions=[]) as session:
        await wait_all_tasks_blocked()
        frames = wire.syn(3) + b"".join(wire.data(3, payload[i : i + 1]) for i in range(len(payload)))
        assert os.write(far.socket.fileno(), frames) == len(frames)  # without a checkpoint
        mock_clock.jump(3)  # its deadline passes in the pass in which it reads
        await until(lambda: session.statistics().bytes_received == len(frames))
        await wait_all_tasks_blocked()
        assert session.statistics().frames_received == 1 + len(payload)
        assert await (await session.accept_stream()).receive_some() == payload
        session.kill()


@bounded()
async def test_who_is_cancelled_before_its_turn_has_what_came_in_the_next_one() -> None:
    """Over a transport that has the bytes before it has the turn."""
    group = turns_of(muxpy.SessionGroup())
    near, far = memory_stream_pair()
    transport = StreamTransport(near)
    transport.turns = group

    async def take_turns() -> None:
        while True:
            await group.turn()

    async with trio.open_nursery() as nursery:
        with group.member(), group.member():
            for _ in range(3):
                nursery.start_soon(take_turns)
            for nth in moments():
                await far.send_all(b"first")
                if not await cancel_at(nth, transport.receive):
                    break
                assert await transport.receive() == b"first"
            assert nth > 2  # it has waited
        nursery.cancel_scope.cancel()

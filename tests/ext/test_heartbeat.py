"""The heartbeat finds a dead session, measures the round trip, and answers the peer's."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import DATA, MIN_EXTENSION_TYPE, RST, SYN, encode_rst, encode_syn
from tests.helpers.links import delayed_pair
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.raw_peer import RawPeer, data, raw_session
from tests.helpers.tasks import bounded

Clock = trio.testing.MockClock

QUIET = muxpy.SessionConfig(heartbeat_interval=None, first_frame_timeout=None)
INTERVAL, TOLERANCE = 3.0, 10.0


async def first_beat(peer: RawPeer) -> tuple[int, bytes]:
    """The id of the session's heartbeat stream and its first beat."""
    syn = await peer.expect(SYN)
    assert syn.body == (0x7FFFFFFF).to_bytes(4, "big") + MIN_EXTENSION_TYPE.to_bytes(4, "big")
    beat = await peer.expect(DATA, syn.stream_id)
    assert len(beat.body) == 4
    return syn.stream_id, beat.body


@bounded(600)
async def test_it_is_on_by_default_in_both_directions(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        await trio.sleep(10 * INTERVAL)
        for session in (client, server):
            statistics = session.statistics()
            assert statistics.heartbeat
            assert statistics.streams_opened == statistics.streams_accepted == 1
            assert statistics.rtt is not None
            assert statistics.data_received >= 2 * 4 * 10  # beats and answers
        # The application does not see any of it.
        with trio.move_on_after(1) as scope:
            await server.accept_stream()
        assert scope.cancelled_caught
        assert server.statistics().backlog == 0


@bounded(600)
async def test_a_healthy_session_lives_for_long(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        await trio.sleep(500)
        near, far = await stream_pair(client, server)
        await near.send_all(b"still here")
        assert await far.receive_some() == b"still here"
        near.reset()


@bounded(600)
async def test_it_measures_the_round_trip(autojump_clock: Clock) -> None:
    one, two = delayed_pair(0.25)
    async with (
        muxpy.open_session(one, client=True) as client,
        muxpy.open_session(two, client=False) as server,
    ):
        await trio.sleep(1)
        for session in (client, server):
            statistics = session.statistics()
            assert statistics.rtt == pytest.approx(0.25)
            assert statistics.latest_rtt == pytest.approx(0.25)
            assert statistics.heartbeat


@bounded(600)
async def test_beats_come_every_interval(autojump_clock: Clock) -> None:
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        start = trio.current_time()
        stream_id, beat = await first_beat(peer)
        beats = {beat}
        for number in range(5):
            assert trio.current_time() - start == pytest.approx(number * INTERVAL)
            await peer.send(data(stream_id, beat))
            beat = (await peer.expect(DATA, stream_id)).body
            beats.add(beat)
        assert len(beats) == 6  # no two alike, so an answer belongs to one of them
        assert session.statistics().heartbeat


@bounded(600)
async def test_an_answer_may_come_in_pieces(autojump_clock: Clock) -> None:
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        stream_id, beat = await first_beat(peer)
        for byte in beat:
            await peer.send(data(stream_id, bytes([byte])))
            await trio.sleep(0.1)
        await wait_all_tasks_blocked()
        assert session.statistics().heartbeat
        assert session.statistics().rtt == pytest.approx(0.3)


@pytest.mark.parametrize(("interval", "tolerance"), [(3.0, 10.0), (0.5, 1.0)])
@bounded(600)
async def test_a_dead_peer_is_found(interval: float, tolerance: float, autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=interval, heartbeat_tolerance=tolerance)
    async with raw_session(config=config, extensions=[muxpy.Heartbeat()]) as (session, _):
        start = trio.current_time()
        stream = await session.open_stream()
        with pytest.raises(muxpy.SessionClosed, match="the peer is dead") as caught:
            await stream.receive_some()
        assert trio.current_time() - start == pytest.approx(interval + tolerance)
        assert isinstance(caught.value.__cause__, muxpy.HeartbeatLost)
        end = await session.wait()
        assert isinstance(end.error, muxpy.HeartbeatLost)


@bounded(600)
async def test_a_peer_that_dies_later_is_found_too(autojump_clock: Clock) -> None:
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        stream_id, beat = await first_beat(peer)
        for _ in range(10):
            await peer.send(data(stream_id, beat))
            beat = (await peer.expect(DATA, stream_id)).body
        last = trio.current_time() - INTERVAL  # when the last answer was received
        end = await session.wait()
        assert isinstance(end.error, muxpy.HeartbeatLost)
        assert trio.current_time() - last == pytest.approx(INTERVAL + TOLERANCE)


@bounded(600)
async def test_any_received_byte_is_a_sign_of_life(autojump_clock: Clock) -> None:
    """The answers never come, other bytes do: even the parts of one frame."""
    async with raw_session(client=False, extensions=[muxpy.Heartbeat()]) as (session, peer):
        await peer.send(encode_syn(3))
        stream = await session.accept_stream()
        for byte in data(3, b"slow but alive"):
            await trio.sleep(INTERVAL + TOLERANCE - 0.5)
            await peer.send(bytes([byte]))
        await wait_all_tasks_blocked()
        assert await stream.receive_some() == b"slow but alive"
        start = trio.current_time()
        assert isinstance((await session.wait()).error, muxpy.HeartbeatLost)
        assert trio.current_time() - start == pytest.approx(INTERVAL + TOLERANCE)


@bounded(600)
async def test_a_peer_without_heartbeat(autojump_clock: Clock) -> None:
    """It resets our stream: the session goes on, says so, and does not judge its silence."""
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        stream_id, _ = await first_beat(peer)
        await peer.send(encode_rst(stream_id, muxpy.ErrorCode.STREAM_CLOSED))
        await trio.sleep(100)
        assert not session.statistics().heartbeat
        assert session.statistics().streams_open == 0
        stream = await session.open_stream()
        await peer.expect(SYN, stream.id)
        await peer.send(data(stream.id, b"alive"))
        assert await stream.receive_some() == b"alive"
        stream.reset()


@bounded(600)
async def test_a_peer_that_loses_its_heartbeat(autojump_clock: Clock) -> None:
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        stream_id, beat = await first_beat(peer)
        await peer.send(data(stream_id, beat))
        await wait_all_tasks_blocked()
        assert session.statistics().heartbeat
        await peer.expect(DATA, stream_id)
        await peer.send(encode_rst(stream_id, muxpy.ErrorCode.CANCEL))
        await wait_all_tasks_blocked()
        assert not session.statistics().heartbeat
        await trio.sleep(100)
        assert session.statistics().streams_open == 0


@pytest.mark.parametrize(
    "answer", [(b"\xff\xff\xff\xff", False), (b"", True), (b"\x00", True)], ids=["wrong", "FIN", "short"]
)
@bounded(600)
async def test_an_answer_that_is_none(answer: tuple[bytes, bool], autojump_clock: Clock) -> None:
    """The peer has no heartbeat; the stream is given up, and not left open."""
    payload, fin = answer
    async with raw_session(extensions=[muxpy.Heartbeat()]) as (session, peer):
        stream_id, _ = await first_beat(peer)
        await peer.send(data(stream_id, payload, fin=fin))
        await trio.sleep(100)
        assert not session.statistics().heartbeat
        frame = await peer.receive()
        assert frame is not None
        assert frame.stream_id == stream_id
        assert frame.fin or frame.kind == RST
        if fin:
            assert session.statistics().streams_open == 0


@bounded(600)
async def test_without_an_interval_it_only_answers(autojump_clock: Clock) -> None:
    async with raw_session(client=False, config=QUIET, extensions=[muxpy.Heartbeat()]) as (session, peer):
        await trio.sleep(100)
        assert session.statistics().frames_sent == 0
        assert not session.statistics().heartbeat
        await peer.send(encode_syn(3, 0x7FFFFFFF, MIN_EXTENSION_TYPE))
        for beat in (b"\x00\x00\x00\x01", b"abcd", b"\xff\xff\xff\xff"):
            await peer.send(data(3, beat))
            answer = await peer.expect(DATA, 3)
            assert (answer.body, answer.fin) == (beat, False)
        await peer.send(data(3, b"", fin=True))
        assert (await peer.expect(DATA, 3)).fin
        assert session.statistics().streams_open == 0


@bounded(600)
async def test_an_interval_of_none_on_one_side_only(autojump_clock: Clock) -> None:
    async with session_pair(client_config=QUIET) as (client, server):
        await trio.sleep(100)
        assert not client.statistics().heartbeat
        assert client.statistics().rtt is None
        assert server.statistics().heartbeat
        assert server.statistics().rtt is not None


@bounded(600)
async def test_only_four_streams_of_the_peer_are_answered_at_once(autojump_clock: Clock) -> None:
    async with raw_session(client=False, config=QUIET, extensions=[muxpy.Heartbeat()]) as (session, peer):
        await peer.send(*[encode_syn(3 + 2 * number, 0, MIN_EXTENSION_TYPE) for number in range(6)])
        for stream_id in (11, 13):
            assert (await peer.expect(RST, stream_id)).code == muxpy.ErrorCode.REFUSED_STREAM
        for stream_id in (3, 5, 7, 9):
            await peer.send(data(stream_id, b"beat"))
            assert (await peer.expect(DATA, stream_id)).body == b"beat"
        # One that has ended makes room for another.
        await peer.send(encode_rst(5, muxpy.ErrorCode.CANCEL))
        await wait_all_tasks_blocked()
        await peer.send(encode_syn(15, 0, MIN_EXTENSION_TYPE), data(15, b"next"))
        assert (await peer.expect(DATA, 15)).body == b"next"
        assert session.statistics().streams_open == 4


@bounded(600)
async def test_an_answer_does_not_queue_behind_data(autojump_clock: Clock) -> None:
    async with raw_session(client=False, config=QUIET, extensions=[muxpy.Heartbeat()]) as (session, peer):
        streams = [await session.open_stream() for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(stream.send_all, bytes(65536))
            await peer.send(encode_syn(3, 0x7FFFFFFF, MIN_EXTENSION_TYPE), data(3, b"beat"))
            before_the_answer = 0
            while True:
                frame = await peer.receive()
                assert frame is not None
                if frame.kind == DATA and frame.stream_id == 3:
                    break
                before_the_answer += len(frame.body)
            # Not more than the batches that were begun before the beat was read; half a MiB waits.
            assert before_the_answer <= 3 * 128 * 1024
        for stream in streams:
            stream.reset()


@bounded(600)
async def test_heartbeats_do_not_keep_an_idle_session_alive(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(idle_timeout=20)
    async with session_pair(server_config=config) as (client, _):
        assert (await client.wait()).remote_debug == b"idle"


@bounded(600)
async def test_heartbeats_are_not_waited_for_at_the_end(autojump_clock: Clock) -> None:
    async with session_pair() as (client, _):
        await trio.sleep(7)
        start = trio.current_time()
        await client.aclose()
        assert trio.current_time() == start
        assert not client.statistics().control_frames_waiting

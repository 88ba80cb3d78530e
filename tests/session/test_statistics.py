"""What a session and its streams say about themselves is what has happened, at both ends, and costs little to ask."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import GOAWAY, RST, SYN, encode_rst, encode_syn, encode_wnd_inc
from tests.helpers.links import Channel, delayed_pair
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import bounded, read_all
from tests.helpers.walks import unwalkable

if TYPE_CHECKING:
    from collections.abc import Callable

Clock: TypeAlias = trio.testing.MockClock

WINDOW = 65536
MIB = 1 << 20
HEADER = 8
ROUND_TRIP = 0.1
QUIET: list[muxpy.Extension] = []


async def receive_exactly(stream: muxpy.Stream, size: int) -> None:
    while size:
        part = await stream.receive_some()
        assert part
        size -= len(part)


# ---- what passes ----


@pytest.mark.parametrize("kind", ["memory", "unix", "tls"])
@bounded()
async def test_frames_and_bytes_are_counted_alike_at_both_ends(kind: str) -> None:
    """Every kind of frame, each with its bytes: 8 of header, 4 for a number in its body."""
    config = muxpy.SessionConfig(heartbeat_interval=None)
    async with session_pair(kind, client_config=config, server_config=config) as (client, server):
        near, far = await stream_pair(client, server)
        doomed = await client.open_stream(priority=5, stream_type=6)
        await near.send_all(bytes(40_000))
        await receive_exactly(far, 40_000)  # more than half of the window: an update
        await far.send_all(bytes(100))
        await near.send_eof()
        assert await read_all(far) == b""
        await far.send_eof()
        assert len(await read_all(near)) == 100
        (await server.accept_stream()).reset(7)
        with pytest.raises(muxpy.StreamReset):
            await doomed.receive_some()
        server.go_away(debug=b"enough")
        while server.statistics().frames_sent < 5 or client.statistics().frames_received < 5:
            await trio.lowlevel.checkpoint()
        one, two = client.statistics(), server.statistics()
        client.kill()
        server.kill()

    for sender, receiver in ((one, two), (two, one)):
        assert sender.frames_sent == receiver.frames_received
        assert sender.data_sent == receiver.data_received
        assert sender.bytes_sent == receiver.bytes_received
        assert sender.window_updates_sent == receiver.window_updates_received
    # Two SYNs, one with two numbers; three frames of data; a FIN.
    assert (one.frames_sent, one.data_sent) == (2 + 3 + 1, 40_000)
    assert one.bytes_sent == one.frames_sent * HEADER + one.data_sent + 2 * 4
    # A window update, one frame of data, a FIN, a reset, and GOAWAY with two numbers and a text.
    assert (two.frames_sent, two.data_sent, two.window_updates_sent) == (5, 100, 1)
    assert two.bytes_sent == two.frames_sent * HEADER + two.data_sent + 4 + 4 + (2 * 4 + len("enough"))
    assert one.window_updates_sent == 0
    for figures in (one, two):
        assert figures.reads >= 1
        assert 1 <= figures.writes <= figures.frames_sent + 2  # a server's TLS writes twice: its hello, and tickets


@bounded()
async def test_streams_are_counted_by_who_opened_them_and_what_became_of_them(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(accept_backlog=3)
    async with session_pair(server_config=config, client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        ours = [await client.open_stream() for _ in range(5)]
        theirs = [await server.open_stream() for _ in range(2)]
        await wait_all_tasks_blocked()
        one, two = client.statistics(), server.statistics()
        assert (one.streams_opened, one.streams_accepted, one.streams_refused) == (5, 2, 0)
        assert (two.streams_opened, two.streams_accepted, two.streams_refused) == (2, 3, 2)
        assert (one.backlog, two.backlog) == (2, 3)
        assert one.streams_open == two.streams_open == 5

        await server.accept_stream()
        assert server.statistics().backlog == 2
        for stream in ours + theirs:
            stream.reset()
        await wait_all_tasks_blocked()
        one, two = client.statistics(), server.statistics()
        assert one.streams_open == two.streams_open == 0
        assert (one.streams_opened, two.streams_accepted) == (5, 3)
        client.kill()


@bounded()
async def test_streams_of_extensions_count_as_open(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        await wait_all_tasks_blocked()
        for session in (client, server):
            figures = session.statistics()
            assert (figures.streams_open, figures.streams_opened, figures.streams_accepted) == (2, 1, 1)
            assert figures.backlog == 0


# ---- the round trip and the heartbeat ----


@bounded(600)
async def test_the_heartbeat_and_its_round_trip_are_reported(autojump_clock: Clock) -> None:
    one, two = delayed_pair(ROUND_TRIP)
    async with (
        muxpy.open_session(one, client=True) as client,
        muxpy.open_session(two, client=False, extensions=QUIET) as server,
    ):
        assert not client.statistics().heartbeat
        await trio.sleep(1)
        assert not client.statistics().heartbeat  # the peer has refused it
        assert not server.statistics().heartbeat
        assert client.statistics().rtt is None
        client.kill()
        server.kill()
    one, two = delayed_pair(ROUND_TRIP)
    async with muxpy.open_session(one, client=True) as client, muxpy.open_session(two, client=False) as server:
        await trio.sleep(1)
        for session in (client, server):
            figures = session.statistics()
            assert figures.heartbeat
            assert figures.rtt == figures.latest_rtt == pytest.approx(ROUND_TRIP)


@bounded()
async def test_the_smallest_round_trip_and_the_last_one_are_told_apart(autojump_clock: Clock) -> None:
    async with raw_session() as (session, _):
        assert (session.statistics().rtt, session.statistics().latest_rtt) == (None, None)
        session.report_rtt(0.2)
        session.report_rtt(0.5)
        assert (session.statistics().rtt, session.statistics().latest_rtt) == (0.2, 0.5)
        session.kill()


# ---- windows ----


@bounded(600)
async def test_the_time_that_data_waits_for_window_is_counted(autojump_clock: Clock) -> None:
    """On the stream as it goes by, on the session when it is over."""
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        near, far = await stream_pair(client, server)
        other, other_far = await stream_pair(client, server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, bytes(WINDOW + 1000))
            await trio.sleep(3)
            nursery.start_soon(other.send_all, bytes(WINDOW + 2000))
            await trio.sleep(4)
            assert near.statistics().blocked_on_window == pytest.approx(7)
            assert other.statistics().blocked_on_window == pytest.approx(4)
            assert client.statistics().blocked_on_window == 0
            assert client.statistics().streams_waiting_to_send == 0  # for the transport

            await receive_exactly(far, WINDOW + 1000)
            await wait_all_tasks_blocked()
            assert client.statistics().blocked_on_window == pytest.approx(7)
            await trio.sleep(10)
            await receive_exactly(other_far, WINDOW + 2000)
            await wait_all_tasks_blocked()
        await trio.sleep(100)
        assert near.statistics().blocked_on_window == pytest.approx(7)
        assert other.statistics().blocked_on_window == pytest.approx(14)
        assert client.statistics().blocked_on_window == pytest.approx(21)
        assert server.statistics().blocked_on_window == 0
        assert far.statistics().blocked_on_window == 0

        with trio.move_on_after(5):  # a wait that is given up counts too
            await near.send_all(bytes(2 * WINDOW))
        assert near.statistics().blocked_on_window == pytest.approx(12)
        assert client.statistics().blocked_on_window == pytest.approx(26)
        client.kill()


@bounded(600)
async def test_a_stream_says_what_is_unsent_unread_and_allowed(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        near, far = await stream_pair(client, server)
        idle = near.statistics()
        assert idle == far.statistics()
        assert (idle.data_sent, idle.data_received, idle.unsent, idle.unread) == (0, 0, 0, 0)
        assert idle.send_window == idle.receive_window == idle.receive_window_size == WINDOW
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, bytes(WINDOW + 1000))
            await wait_all_tasks_blocked()
            sender, receiver = near.statistics(), far.statistics()
            assert (sender.data_sent, sender.unsent, sender.send_window) == (WINDOW, 1000, 0)
            assert (receiver.data_received, receiver.unread, receiver.receive_window) == (WINDOW, WINDOW, 0)
            assert (sender.data_received, sender.receive_window) == (0, WINDOW)  # the other direction
            assert (receiver.data_sent, receiver.send_window) == (0, WINDOW)

            await far.receive_some(5000)  # too little for an update
            receiver = far.statistics()
            assert (receiver.unread, receiver.receive_window) == (WINDOW - 5000, 0)

            await receive_exactly(far, WINDOW + 1000 - 5000)
        await wait_all_tasks_blocked()
        sender, receiver = near.statistics(), far.statistics()
        assert sender.data_sent == receiver.data_received == WINDOW + 1000
        assert (sender.unsent, receiver.unread) == (0, 0)
        assert sender.send_window == receiver.receive_window
        assert WINDOW // 2 < receiver.receive_window <= receiver.receive_window_size
        client.kill()


@bounded(600)
async def test_a_window_that_grows_shows_on_its_stream_and_takes_from_the_budget(autojump_clock: Clock) -> None:
    one, two = delayed_pair(ROUND_TRIP)
    async with (
        muxpy.open_session(one, client=True, extensions=QUIET) as client,
        muxpy.open_session(two, client=False, extensions=QUIET) as server,
    ):
        near, far = await stream_pair(client, server)
        _, idle = await stream_pair(client, server)
        before = server.statistics()
        assert before.largest_window == WINDOW
        assert before.receive_budget_left == server.config.receive_budget
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, bytes(8 * MIB))
            await receive_exactly(far, 8 * MIB)
        await trio.sleep(1)  # the last update has arrived

        figures, stream = server.statistics(), far.statistics()
        assert stream.receive_window_size >= 8 * WINDOW
        assert figures.largest_window == stream.receive_window_size
        assert figures.receive_budget_left == before.receive_budget_left - (stream.receive_window_size - WINDOW)
        assert idle.statistics().receive_window_size == WINDOW
        assert near.statistics().send_window == stream.receive_window > WINDOW
        assert near.statistics().receive_window_size == client.statistics().largest_window == WINDOW
        assert figures.rtt == pytest.approx(ROUND_TRIP)
        assert figures.window_updates_sent == client.statistics().window_updates_received > 0

        near.reset()
        await trio.sleep(1)
        assert far.statistics().receive_window_size == WINDOW
        assert server.statistics().receive_budget_left == server.config.receive_budget
        assert server.statistics().largest_window == stream.receive_window_size  # so far
        client.kill()


# ---- what waits to be written ----


@bounded()
async def test_what_waits_for_a_transport_that_is_full_is_counted(autojump_clock: Clock) -> None:
    async with raw_session(outgoing=Channel(100)) as (session, peer), trio.open_nursery() as nursery:
        streams = [await session.open_stream() for _ in range(6)]
        for _ in streams:
            await peer.expect(SYN)
        await wait_all_tasks_blocked()
        for stream in streams:
            nursery.start_soon(stream.send_all, bytes(50_000))
        await wait_all_tasks_blocked()
        # Whoever came first is in the batch under way, and there the rest is not.
        figures = session.statistics()
        assert figures.streams_waiting_to_send == 5
        assert sorted(stream.statistics().unsent for stream in streams) == [0] + [50_000] * 5
        assert sorted(stream.statistics().data_sent for stream in streams) == [0] * 5 + [50_000]
        assert figures.data_sent == 50_000  # given to the transport, though it has not gone
        assert figures.blocked_on_window == 0
        assert figures.control_frames_waiting == 0

        opened = [await session.open_stream() for _ in range(3)]
        opened[0].reset()
        await peer.send(encode_syn(2), encode_syn(4), encode_rst(2, 7))
        await wait_all_tasks_blocked()
        assert session.statistics().control_frames_waiting == 4  # three SYNs and an RST

        received = 0
        while received < 6 * 50_000:
            frame = await peer.receive()
            assert frame is not None
            received += len(frame.body) * (frame.name == "DATA")
        await wait_all_tasks_blocked()
        figures = session.statistics()
        assert (figures.streams_waiting_to_send, figures.control_frames_waiting) == (0, 0)
        assert [stream.statistics().unsent for stream in streams] == [0] * 6
        assert figures.data_sent == 6 * 50_000
        session.kill()


# ---- after the end ----


@pytest.mark.parametrize("ending", ["closed", "reset here", "reset by the peer"])
@bounded(600)
async def test_a_stream_that_has_ended_keeps_its_last_figures(ending: str, autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer), trio.open_nursery() as nursery:
        stream = await session.open_stream()
        await stream.send_all(bytes(1000))
        await peer.send(data(stream.id, bytes(500)))
        await wait_all_tasks_blocked()
        assert stream.statistics().unread == 500
        if ending != "closed":

            async def send() -> None:
                with pytest.raises((trio.ClosedResourceError, muxpy.StreamReset)):
                    await stream.send_all(bytes(WINDOW))

            nursery.start_soon(send)
            await trio.sleep(2)
            assert stream.statistics().unsent == 1000
        match ending:
            case "closed":
                await stream.aclose()
            case "reset here":
                stream.reset()
            case _:
                await peer.send(encode_rst(stream.id, 7))
        await wait_all_tasks_blocked()
        await trio.sleep(50)
        figures = stream.statistics()
        assert figures.data_received == 500
        assert (figures.unsent, figures.unread) == (0, 0)
        assert figures.receive_window_size == WINDOW
        if ending == "closed":
            assert figures.data_sent == 1000
            assert figures.blocked_on_window == 0
        else:
            assert figures.data_sent == WINDOW
            assert figures.blocked_on_window == pytest.approx(2)  # and no more since
            assert session.statistics().blocked_on_window == pytest.approx(2)
        session.kill()


@pytest.mark.parametrize("ending", ["killed", "closed", "cut"])
@bounded(600)
async def test_a_session_that_has_ended_keeps_its_last_figures(ending: str, autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(drain_timeout=0)
    async with raw_session(config=config) as (session, peer), trio.open_nursery() as nursery:
        stream = await session.open_stream()
        await peer.expect(SYN)
        await peer.send(encode_syn(2), data(2, bytes(300)))

        async def send() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await stream.send_all(bytes(WINDOW + 10))

        nursery.start_soon(send)
        await trio.sleep(4)
        assert stream.statistics().unsent == 10
        match ending:
            case "killed":
                session.kill()
            case "closed":
                await session.aclose()
            case _:
                await peer.aclose()
        await session.wait()
        await wait_all_tasks_blocked()
        figures = session.statistics()
        blocked = figures.blocked_on_window
        assert blocked == pytest.approx(4, abs=config.linger_timeout)
        await trio.sleep(100)
        assert session.statistics() == figures
        assert (figures.streams_opened, figures.streams_accepted, figures.data_received) == (1, 1, 300)
        assert figures.data_sent == WINDOW
        assert stream.statistics().unsent == 0
        assert stream.statistics().blocked_on_window == pytest.approx(blocked)
        assert not figures.heartbeat


# ---- what it costs ----


def calls_of(ask: Callable[[], object]) -> int:
    """How many functions are called, those of the interpreter included."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        ask()
    finally:
        sys.setprofile(before)
    return calls


@bounded()
async def test_statistics_of_ten_thousand_streams_cost_what_those_of_one_do(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(max_streams=20_000, accept_backlog=20_000, heartbeat_interval=None)
    async with raw_session(client=False, config=config) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"something to read"))
        stream = await session.accept_stream()
        few = calls_of(session.statistics), calls_of(stream.statistics)
        ids = range(5, 5 + 2 * 10_000, 2)
        await peer.send(*map(encode_syn, ids), *(data(stream_id, b"x") for stream_id in ids))
        await wait_all_tasks_blocked()
        with unwalkable(session):
            figures = session.statistics()
            assert figures.streams_open == 10_001
            assert figures.backlog == 10_000
            assert (calls_of(session.statistics), calls_of(stream.statistics)) == few
        session.kill()


@bounded()
async def test_statistics_of_a_stream_say_nothing_of_what_it_holds(autojump_clock: Clock) -> None:
    """Neither do many unread pieces cost more than one."""
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, bytes(5000)))
        stream = await session.accept_stream()
        few = calls_of(stream.statistics)
        for _ in range(10):
            await peer.send(data(3, bytes(5000)))
            await wait_all_tasks_blocked()
        assert stream.statistics().unread == 55_000
        assert calls_of(stream.statistics) == few
        session.kill()


@bounded()
async def test_statistics_are_of_one_moment(autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await wait_all_tasks_blocked()
        before, stream_before = session.statistics(), stream.statistics()
        with pytest.raises(FrozenInstanceError):
            before.frames_sent = 1  # type: ignore[misc]
        with pytest.raises(FrozenInstanceError):
            stream_before.unread = 1  # type: ignore[misc]
        await stream.send_all(bytes(100))
        await peer.send(encode_wnd_inc(stream.id, 10))
        await wait_all_tasks_blocked()
        assert (before.frames_sent, stream_before.send_window) == (1, WINDOW)
        after = session.statistics()
        changed = {field.name for field in fields(after) if getattr(after, field.name) != getattr(before, field.name)}
        assert changed == {
            *("frames_sent", "data_sent", "bytes_sent", "writes"),
            *("frames_received", "bytes_received", "window_updates_received", "reads"),
        }
        assert stream.statistics().send_window == WINDOW - 100 + 10
        session.kill()


@bounded()
async def test_the_end_is_counted_like_the_rest(autojump_clock: Clock) -> None:
    """GOAWAY and what else is said last."""
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        stream.reset(7)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.aclose)
            assert [frame.kind for frame in await peer.rest()] == [SYN, RST, GOAWAY]
            await peer.stream.send_eof()
        figures = session.statistics()
        assert figures.frames_sent == 3
        assert figures.bytes_sent == 3 * HEADER + 4 + 2 * 4
        assert figures.control_frames_waiting == 0

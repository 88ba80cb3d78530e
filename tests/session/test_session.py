"""The public operations of a session, and every way for it to end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import GOAWAY, SYN, encode_goaway, encode_syn, encode_wnd_inc
from tests.helpers.inside import connection_of
from tests.helpers.links import Channel
from tests.helpers.pairs import IN_MEMORY, REAL, session_pair, stream_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import LIMIT, assert_echo, bounded, read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

QUIET: tuple[muxpy.Extension, ...] = ()  # no heartbeat, for tests that look at frames or at the clock
Clock = trio.testing.MockClock


# ---- opening ----


@pytest.mark.parametrize("wrong", [-1, 2**31])
@bounded()
async def test_priority_has_31_bits(wrong: int) -> None:
    async with session_pair() as (client, server):
        with pytest.raises(ValueError, match="priority"):
            await client.open_stream(priority=wrong)
        await assert_echo(client, server)


@pytest.mark.parametrize("wrong", [-1, 2**32])
@bounded()
async def test_stream_type_has_32_bits(wrong: int) -> None:
    async with session_pair() as (client, server):
        with pytest.raises(ValueError, match="stream_type"):
            await client.open_stream(stream_type=wrong)
        await assert_echo(client, server)


@pytest.mark.parametrize("name", ["priority", "stream_type"])
@pytest.mark.parametrize("wrong", [1.5, "1", None])
@bounded()
async def test_numbers_of_a_stream_are_integers(name: str, wrong: object) -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        with pytest.raises(TypeError, match=f"^{name} must be an integer, not {wrong!r}$"):
            await client.open_stream(**{name: wrong})  # type: ignore[arg-type]
        assert client.statistics().streams_open == 0
        await assert_echo(client, server)


@bounded()
async def test_the_largest_numbers_arrive() -> None:
    async with session_pair() as (client, server):
        near = await client.open_stream(priority=2**31 - 1, stream_type=muxpy.MIN_EXTENSION_TYPE - 1)
        far = await server.accept_stream()
        assert (far.priority, far.stream_type) == (2**31 - 1, muxpy.MIN_EXTENSION_TYPE - 1)
        near.reset()
        far.reset()


@bounded()
async def test_both_sides_open_streams_with_ids_of_their_own() -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        ids = [(await client.open_stream()).id for _ in range(3)]
        assert ids == [3, 5, 7]
        assert [(await server.accept_stream()).id for _ in range(3)] == ids
        ids = [(await server.open_stream()).id for _ in range(3)]
        assert ids == [2, 4, 6]
        assert [(await client.accept_stream()).id for _ in range(3)] == ids
        client.kill()


@bounded()
async def test_dial_opens_a_stream_whatever_the_address() -> None:
    async with session_pair() as (client, server):
        for dial in (client.dial(), client.dial("example.org", 80), client.dial(host=b"example.org", port=80)):
            near = await dial
            far = await server.accept_stream()
            await near.send_all(b"hello")
            await near.aclose()
            assert await read_all(far) == b"hello"
            await far.aclose()


@bounded()
async def test_an_opened_stream_is_announced_even_if_nothing_is_sent(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near = await client.open_stream()
        far = await server.accept_stream()
        await far.send_all(b"the acceptor speaks first")
        assert await near.receive_some() == b"the acceptor speaks first"
        near.reset()


@bounded()
async def test_operations_are_checkpoints() -> None:
    async with session_pair() as (client, server):
        with assert_checkpoints():
            near = await client.open_stream()
        with assert_checkpoints():
            await near.send_all(b"x")
        with assert_checkpoints():
            far = await server.accept_stream()
        with assert_checkpoints():
            await far.receive_some()
        with assert_checkpoints():
            await near.send_eof()
        with assert_checkpoints():
            await far.receive_some()
        with assert_checkpoints():
            await far.aclose()
        with assert_checkpoints():
            await near.aclose()
        with assert_checkpoints():
            await client.aclose()
        with assert_checkpoints():
            await client.aclose()
        with assert_checkpoints():
            await client.wait()


@pytest.mark.parametrize("writing", ["free", "blocked"])
@bounded(600)
async def test_opening_waits_while_too_much_is_queued(writing: str, autojump_clock: Clock) -> None:
    """The queue of control frames is bounded from this side too: open_stream waits rather than fill it."""
    config = muxpy.SessionConfig(max_control_frames=16, max_streams=16, drain_timeout=0)
    outgoing = Channel(0 if writing == "blocked" else 1 << 20)
    async with raw_session(config=config, outgoing=outgoing) as (session, peer), trio.open_nursery() as nursery:

        async def open_many() -> None:
            for _ in range(100):
                await session.open_stream()
                assert session.statistics().control_frames_waiting <= 16

        nursery.start_soon(open_many)
        await wait_all_tasks_blocked()
        if writing == "blocked":
            assert session.statistics().streams_opened < 30
            outgoing.capacity = 1 << 20
            outgoing._changed.unpark_all()
        for _ in range(100):
            await peer.expect(SYN)


@bounded(600)
async def test_opening_does_not_wait_for_all_bulk_data(autojump_clock: Clock) -> None:
    """When the queue is long, an opener waits for the queue to shorten, not for other streams to fall silent."""
    config = muxpy.SessionConfig(max_control_frames=16, max_streams=16, drain_timeout=0)
    outgoing = Channel(0)
    async with raw_session(config=config, outgoing=outgoing) as (session, peer), trio.open_nursery() as nursery:
        streams = [await session.open_stream() for _ in range(4)]
        opened = trio.Event()

        async def bulk(stream: muxpy.Stream) -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(bytes(1 << 20))

        async def open_many() -> None:
            for _ in range(20):
                await session.open_stream()
            opened.set()

        for stream in streams:
            nursery.start_soon(bulk, stream)
            await peer.send(encode_wnd_inc(stream.id, 1 << 30))
        nursery.start_soon(open_many)
        await wait_all_tasks_blocked()
        outgoing.capacity = 1 << 16
        outgoing._changed.unpark_all()
        received = 0
        while not opened.is_set():
            received += len(await peer.stream.receive_some(1 << 16))
            assert received < 8 << 20, "open_stream waits as long as others send"
        session.kill()


# ---- accepting ----


@bounded()
async def test_streams_are_accepted_in_order() -> None:
    async with session_pair() as (client, server):
        opened = [await client.open_stream() for _ in range(20)]
        accepted = [await server.accept_stream() for _ in range(20)]
        assert [stream.id for stream in accepted] == [stream.id for stream in opened]
        client.kill()


@bounded()
async def test_several_tasks_may_accept(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        accepted = []

        async def accept() -> None:
            accepted.append((await server.accept_stream()).id)

        for _ in range(5):
            nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        opened = [(await client.open_stream()).id for _ in range(5)]
        await wait_all_tasks_blocked()
        assert sorted(accepted) == opened
        client.kill()


@bounded()
async def test_an_acceptor_cancelled_as_it_is_woken_loses_no_stream(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        accepted: list[muxpy.Stream] = []
        first = trio.CancelScope()

        async def accept_first() -> None:
            with first:
                trio.lowlevel.add_instrument(CancelOnWake(first))
                accepted.append(await server.accept_stream())

        async def accept() -> None:
            accepted.append(await server.accept_stream())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_first)
            await wait_all_tasks_blocked()
            nursery.start_soon(accept)
            await wait_all_tasks_blocked()
            near = await client.open_stream()
            await wait_all_tasks_blocked()
            assert first.cancel_called
            assert len(accepted) == 1, "a stream waits and so does an acceptor"
            nursery.cancel_scope.cancel()
        near.reset()


class CancelOnWake(trio.abc.Instrument):
    """Cancels `scope` the moment the task that made this is woken, before it runs."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._task = trio.lowlevel.current_task()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._scope.cancel()


@bounded()
async def test_a_stream_that_was_reset_in_the_backlog_is_not_accepted(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        (await client.open_stream()).reset()
        kept = await client.open_stream()
        await wait_all_tasks_blocked()
        far = await server.accept_stream()
        assert far.id == kept.id
        assert server.statistics().backlog == 0
        kept.reset()
        await wait_all_tasks_blocked()
        assert client.statistics().streams_open == server.statistics().streams_open == 0


@bounded()
async def test_iterating_accepts_until_the_peer_closes(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        seen = []
        async with trio.open_nursery() as nursery:

            async def open_some() -> None:
                for number in range(3):
                    async with await client.open_stream() as stream:
                        await stream.send_all(b"%d" % number)
                await client.aclose()

            nursery.start_soon(open_some)
            async for stream in server:
                async with stream:
                    seen.append(await read_all(stream))
        assert seen == [b"0", b"1", b"2"]


@pytest.mark.parametrize("kind", [*IN_MEMORY, *REAL])
@bounded()
async def test_a_clean_close_is_a_clean_end_on_both_sides(kind: str) -> None:
    async with session_pair(kind) as (client, server), trio.open_nursery() as nursery:
        ends = []

        async def iterate() -> None:
            async for _ in server:
                pass
            ends.append(await server.wait())

        nursery.start_soon(iterate)
        await assert_echo_with_open_peer(client)
        await client.aclose()
        ends.append(await client.wait())
        with trio.fail_after(LIMIT):
            while len(ends) < 2:
                await trio.lowlevel.checkpoint()
        for end in ends:
            assert end.error is None
            assert end.code == muxpy.ErrorCode.NO_ERROR
        server_end = next(end for end in ends if end.remote_code is not None)
        assert server_end.remote_code == muxpy.ErrorCode.NO_ERROR


async def assert_echo_with_open_peer(client: muxpy.Session) -> None:
    """Something is said before the end."""
    stream = await client.open_stream(fin=True)
    stream.reset()


@bounded()
async def test_iterating_raises_when_the_session_breaks(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.aclose()
        with pytest.raises(muxpy.SessionClosed, match="without saying GOAWAY") as caught:
            await anext(session)
        assert caught.value.end == await session.wait()
        assert caught.value.end is not None
        assert caught.value.__cause__ is caught.value.end.error
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert not caught.value.retryable


@bounded()
async def test_iterating_ends_when_this_side_goes_away(autojump_clock: Clock) -> None:
    async with session_pair() as (_client, server), trio.open_nursery() as nursery:
        done = trio.Event()

        async def iterate() -> None:
            async for _ in server:
                raise AssertionError("there is no stream")
            done.set()

        nursery.start_soon(iterate)
        await wait_all_tasks_blocked()
        server.go_away()
        await done.wait()
        with pytest.raises(muxpy.SessionGoingAway):
            await server.accept_stream()


# ---- limits ----


@bounded()
async def test_streams_past_the_limit_are_refused(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(max_streams=2)
    async with session_pair(server_config=config, client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        streams = [await client.open_stream() for _ in range(3)]
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.StreamReset, match="REFUSED_STREAM; safe to retry") as caught:
            await streams[2].receive_some()
        assert caught.value.retryable
        assert server.statistics().streams_refused == 1

        # One that has ended makes room.
        first = await server.accept_stream()
        await streams[0].aclose()
        await first.aclose()
        await server.accept_stream()
        streams[1].reset()
        await wait_all_tasks_blocked()
        await assert_echo(client, server)


@bounded()
async def test_streams_past_the_backlog_are_refused(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(accept_backlog=2)
    async with session_pair(server_config=config, client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        streams = [await client.open_stream() for _ in range(3)]
        await wait_all_tasks_blocked()
        assert server.statistics().backlog == 2
        with pytest.raises(muxpy.StreamReset) as caught:
            await streams[2].send_all(b"x")
        assert caught.value.retryable

        # One that was accepted makes room, even while it is open.
        await server.accept_stream()
        extra = await client.open_stream()
        await wait_all_tasks_blocked()
        assert server.statistics().backlog == 2
        await extra.send_all(b"taken")
        client.kill()


# ---- serve_streams ----


@bounded()
async def test_serve_streams_runs_a_handler_for_each_stream(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:

        async def handler(stream: muxpy.Stream) -> None:
            await stream.send_all((await read_all(stream))[::-1])

        waiting = await client.open_stream()  # before anyone serves
        await wait_all_tasks_blocked()
        nursery.start_soon(server.serve_streams, handler)
        streams = [waiting] + [await client.open_stream() for _ in range(9)]
        for number, stream in enumerate(streams):
            await stream.send_all(b"stream %d" % number)
            await stream.send_eof()
        for number, stream in enumerate(streams):
            assert (await read_all(stream))[::-1] == b"stream %d" % number
            await stream.aclose()
        await client.aclose()


@bounded()
async def test_a_handler_starts_without_waking_anyone_else(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer), trio.open_nursery() as nursery:
        started = []

        async def handler(stream: muxpy.Stream) -> None:
            started.append(stream.id)
            await trio.sleep_forever()

        nursery.start_soon(session.serve_streams, handler)
        await wait_all_tasks_blocked()
        await peer.send(encode_syn(3), encode_syn(5), encode_syn(7))
        await wait_all_tasks_blocked()
        assert sorted(started) == [3, 5, 7]
        assert session.statistics().backlog == 0
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_handler_that_fails_resets_its_stream_only(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:

        async def handler(stream: muxpy.Stream) -> None:
            if await stream.receive_some() == b"fail":
                raise ZeroDivisionError("on purpose")
            await stream.send_all(b"fine")

        nursery.start_soon(server.serve_streams, handler)
        bad, good = await client.open_stream(), await client.open_stream()
        await bad.send_all(b"fail")
        await good.send_all(b"work")
        with pytest.raises(muxpy.StreamReset) as caught:
            await bad.receive_some()
        assert caught.value.code is muxpy.ErrorCode.INTERNAL_ERROR
        assert await read_all(good) == b"fine"
        (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ZeroDivisionError)
        await good.aclose()
        await client.aclose()


@bounded()
async def test_a_handler_whose_stream_is_reset_is_no_error_to_log(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        ended = []

        async def handler(stream: muxpy.Stream) -> None:
            try:
                await stream.receive_some()
            except muxpy.StreamReset as error:
                ended.append(error.code)
                raise

        nursery.start_soon(server.serve_streams, handler)
        stream = await client.open_stream()
        await wait_all_tasks_blocked()
        stream.reset()
        await wait_all_tasks_blocked()
        assert ended == [muxpy.ErrorCode.CANCEL]
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        await client.aclose()


@bounded()
async def test_resets_in_the_tasks_of_a_handler_are_no_error_to_log_either(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:

        async def handler(stream: muxpy.Stream) -> None:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(stream.receive_some)
                tasks.start_soon(stream.send_all, bytes(100_000))

        nursery.start_soon(server.serve_streams, handler)
        stream = await client.open_stream()
        await wait_all_tasks_blocked()
        stream.reset()
        await wait_all_tasks_blocked()
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        await client.aclose()


@bounded()
async def test_cancelling_serve_streams_resets_what_it_serves(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        async with trio.open_nursery() as nursery:

            async def handler(stream: muxpy.Stream) -> None:
                await trio.sleep_forever()

            nursery.start_soon(server.serve_streams, handler)
            stream = await client.open_stream()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(muxpy.StreamReset) as caught:
            await stream.receive_some()
        assert caught.value.code is muxpy.ErrorCode.CANCEL
        # The session goes on, and accepting is free again.
        await assert_echo(client, server)
        assert client.statistics().streams_open == server.statistics().streams_open == 0


@bounded()
async def test_serve_streams_keeps_others_from_accepting(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, read_all)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await server.accept_stream()
        with pytest.raises(trio.BusyResourceError):
            await server.serve_streams(read_all)
        with pytest.raises(trio.BusyResourceError):
            await server.listener().accept()
        await client.aclose()


@bounded()
async def test_serve_streams_ends_with_go_away_once_its_handlers_are_done(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        served = trio.Event()

        async def serve() -> None:
            await server.serve_streams(read_all)
            served.set()

        nursery.start_soon(serve)
        stream = await client.open_stream()
        await wait_all_tasks_blocked()
        server.go_away()
        await wait_all_tasks_blocked()
        assert not served.is_set()
        await stream.send_all(b"still taken")
        await stream.aclose()
        await served.wait()


@bounded()
async def test_serve_streams_raises_when_the_session_breaks(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with pytest.raises(muxpy.SessionClosed, match="without saying GOAWAY"):
                    await session.serve_streams(read_all)

            nursery.start_soon(serve)
            await wait_all_tasks_blocked()
            await peer.aclose()


@bounded()
async def test_serve_streams_returns_when_the_session_ends_in_order(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, read_all)
        await wait_all_tasks_blocked()
        await client.aclose()
    assert nursery.cancel_scope.cancelled_caught is False


# ---- listener ----


@bounded()
async def test_a_session_is_a_listener_for_trio(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:

        async def handler(stream: muxpy.Stream) -> None:
            await stream.send_all(await read_all(stream))
            await stream.aclose()

        nursery.start_soon(trio.serve_listeners, handler, [server.listener()])
        for number in range(3):
            async with await client.open_stream() as stream:
                await stream.send_all(b"%d" % number)
                await stream.send_eof()
                assert await read_all(stream) == b"%d" % number
        nursery.cancel_scope.cancel()


@bounded()
async def test_closing_a_listener_stops_accepting_here_only(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        listener = server.listener()
        assert listener.session is server
        woken = trio.Event()

        async def accept() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()
            woken.set()

        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        await listener.aclose()
        await woken.wait()
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        with assert_checkpoints():
            await listener.aclose()
        await assert_echo(client, server)


@bounded()
async def test_a_listener_raises_like_accept_stream(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.aclose()
        with pytest.raises(muxpy.SessionClosed):
            await session.listener().accept()


# ---- going away ----


@bounded()
async def test_go_away_tells_whether_it_was_said(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        assert client.go_away(final=False)
        assert not client.go_away(final=False)
        assert client.go_away()
        assert not client.go_away()
        assert not client.go_away(final=False)
        await client.aclose()
        await server.wait()
        assert not server.go_away()
        assert server.end is not None


@bounded()
async def test_after_go_away_the_peer_opens_no_more(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        assert server.go_away(muxpy.ErrorCode.NO_ERROR, b"maintenance")
        assert not server.go_away(muxpy.ErrorCode.INTERNAL_ERROR, b"only the first counts")
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.SessionGoingAway) as caught:
            await client.open_stream()
        assert caught.value.retryable
        assert caught.value.end is None

        # Open streams go on, and the side that said it may still open its own.
        await near.send_all(b"goes on")
        assert await far.receive_some() == b"goes on"
        await assert_echo(server, client)
        await near.aclose()
        await far.aclose()
        await server.aclose()
        end = await client.wait()
        assert end == muxpy.SessionEnd(0, None, 0, b"maintenance", by_peer=True)


@bounded()
async def test_a_stream_opened_before_the_go_away_arrived_is_refused(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        server.go_away()
        near = await client.open_stream()
        with pytest.raises(muxpy.StreamReset) as caught:
            await near.receive_some()
        assert caught.value.retryable


@bounded()
async def test_a_stream_opened_before_an_announcement_arrived_is_taken(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.aclose, announce=True))
            crossing = await client.open_stream()
            await crossing.send_all(b"question")
            taken = await server.accept_stream()
            assert await taken.receive_some() == b"question"
            assert (client.going_away, server.going_away) == (True, False)
            with pytest.raises(muxpy.SessionGoingAway):
                await client.open_stream()
            await assert_echo(server, client)  # it opens its own until the answer has come

            client.go_away(final=False)
            await wait_all_tasks_blocked()
            assert server.going_away
            await taken.send_all(b"answer")
            for stream in (near, far, taken):
                await stream.aclose()
            assert await read_all(crossing) == b"answer"
            await crossing.aclose()
        for session in (client, server):
            assert (await session.wait()).error is None


@bounded()
async def test_an_announcement_without_an_answer_ends_with_the_drain_time(autojump_clock: Clock) -> None:
    async with session_pair(server_config=muxpy.SessionConfig(drain_timeout=7)) as (client, server):
        near, _ = await stream_pair(client, server)
        begun = trio.current_time()
        await server.aclose(announce=True)
        assert trio.current_time() - begun == pytest.approx(7, abs=0.5)
        with pytest.raises(muxpy.SessionClosed):
            await near.receive_some()


async def told(session: muxpy.Session) -> bool:
    """Whether somebody who waits for it has been told that the session goes away."""
    with trio.move_on_after(1):
        await session.wait_going_away()
        assert session.going_away
        return True
    assert not session.going_away
    return False


@pytest.mark.parametrize("how", ["go_away", "announce", "aclose", "kill", "closes itself", "used up"])
@bounded()
async def test_who_waits_for_it_learns_that_a_session_takes_no_more_streams(how: str, autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        await stream_pair(client, server)
        assert not await told(client)
        async with trio.open_nursery() as nursery:
            match how:
                case "go_away":
                    server.go_away()
                case "announce":
                    server.go_away(final=False)
                case "aclose":
                    nursery.start_soon(server.aclose)
                case "closes itself":
                    nursery.start_soon(client.aclose)
                case "kill":
                    server.kill()
                case _:
                    connection_of(client)._table._next_id = 2**31 - 1
                    await client.open_stream()
            assert await told(client)
            client.kill()


@bounded()
async def test_streams_above_the_last_id_of_a_go_away_may_be_retried(autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer):
        handled = await session.open_stream()
        unseen = await session.open_stream()
        await peer.expect(SYN, 3)
        await peer.expect(SYN, 5)
        await peer.send(encode_goaway(3, 0))
        with pytest.raises(muxpy.StreamReset) as caught:
            await unseen.receive_some()
        assert caught.value.retryable
        await peer.send(data(3, b"answer", fin=True))
        assert await read_all(handled) == b"answer"
        await handled.aclose()


@bounded()
async def test_go_away_carries_its_reason(autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer):
        session.go_away(99, b"x" * 5000)
        frame = await peer.expect(GOAWAY)
        assert frame.code == 99
        assert frame.debug == "x" * 1024


@bounded()
async def test_a_go_away_code_that_no_frame_can_carry_is_refused(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        for wrong in (-1, 2**32):
            with pytest.raises(ValueError, match="code"):
                client.go_away(wrong)
        client.go_away()
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.SessionGoingAway):
            await server.open_stream()


@bounded()
async def test_a_peer_that_ends_with_an_error_says_why(autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await peer.send(encode_goaway(3, muxpy.ErrorCode.INTERNAL_ERROR, b"out of paper"))
        await peer.aclose()
        with pytest.raises(muxpy.SessionClosed, match="INTERNAL_ERROR: out of paper"):
            await stream.receive_some()
        end = await session.wait()
        assert end.remote_code == muxpy.ErrorCode.INTERNAL_ERROR
        assert end.remote_debug == b"out of paper"
        assert end.error is not None


# ---- closing ----


@bounded(600)
async def test_aclose_lets_streams_finish(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)

        async def finish_later() -> None:
            await trio.sleep(4)
            await near.send_all(b"the end")
            await near.aclose()

        async def answer() -> None:
            assert await read_all(far) == b"the end"
            await far.aclose()

        nursery.start_soon(finish_later)
        nursery.start_soon(answer)
        start = trio.current_time()
        await client.aclose()
        assert 4 <= trio.current_time() - start < 5
        assert (await client.wait()).error is None


@pytest.mark.parametrize("limit", [0, 2])
@bounded(600)
async def test_aclose_waits_no_longer_than_it_may(limit: float, autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(drain_timeout=limit)
    async with session_pair(client_config=config) as (client, server):
        near, far = await stream_pair(client, server)
        start = trio.current_time()
        await client.aclose()
        assert limit <= trio.current_time() - start <= limit + config.linger_timeout
        with pytest.raises(muxpy.SessionClosed, match="has ended"):
            await near.receive_some()
        with pytest.raises(muxpy.SessionClosed):
            await far.receive_some()
        with pytest.raises(muxpy.SessionClosed):
            await far.send_all(b"x")


@bounded(600)
async def test_aclose_refuses_what_nobody_will_accept(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near = await client.open_stream()
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await server.aclose()
        assert trio.current_time() == start
        with pytest.raises(muxpy.StreamReset) as caught:
            await near.receive_some()
        assert caught.value.retryable


@bounded(600)
async def test_nothing_is_opened_while_closing(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, _ = await stream_pair(client, server)
        nursery.start_soon(client.aclose)
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.SessionGoingAway) as caught:
            await client.open_stream()
        assert caught.value.retryable
        with pytest.raises(muxpy.SessionGoingAway):
            await client.accept_stream()
        near.reset()


@bounded(600)
async def test_both_sides_may_close_at_once(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            nursery.start_soon(client.aclose)
            nursery.start_soon(server.aclose)
        assert trio.current_time() == start
        for session in (client, server):
            assert (await session.wait()).error is None


@bounded(600)
async def test_a_cancelled_aclose_kills(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near, _ = await stream_pair(client, server)
        with trio.move_on_after(1) as scope:
            await client.aclose()
        assert scope.cancelled_caught
        with trio.fail_after(0.5):
            await client.wait()
        with pytest.raises(muxpy.SessionClosed):
            await near.receive_some()


@bounded()
async def test_a_session_is_an_async_context_manager_of_its_own(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        async with client as same:
            assert same is client
            await assert_echo(client, server)
        assert (await client.wait()).error is None


@bounded(600)
async def test_a_peer_that_does_not_close_its_end_is_not_waited_for_long(autojump_clock: Clock) -> None:
    start = trio.current_time()
    async with raw_session() as (session, peer):
        await session.aclose()
        assert await peer.rest() != []
    assert trio.current_time() - start == session.config.drain_timeout


# ---- killing ----


@bounded()
async def test_kill_ends_everything_at_once(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, _far = await stream_pair(client, server)
        woken = []

        operations: dict[str, Callable[[], Awaitable[object]]] = {
            "receive": near.receive_some,
            "send": lambda: near.send_all(bytes(100_000)),
            "accept": client.accept_stream,
            "far accept": server.accept_stream,
        }

        async def expect(name: str) -> None:
            with pytest.raises(muxpy.SessionClosed):
                await operations[name]()
            woken.append(name)

        for name in operations:
            nursery.start_soon(expect, name)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        reason = RuntimeError("enough")
        client.kill(reason)
        client.kill(RuntimeError("only the first counts"))
        await wait_all_tasks_blocked()
        assert sorted(woken) == sorted(operations)
        end = await client.wait()
        assert end.error is reason
        assert end.code == muxpy.ErrorCode.CANCEL
        assert trio.current_time() == start
        with pytest.raises(muxpy.SessionClosed) as caught:
            await client.open_stream()
        assert caught.value.__cause__ is reason
        assert caught.value.end is end
        assert (await server.wait()).error is not None


@bounded()
async def test_everything_fails_after_the_end(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near, _ = await stream_pair(client, server)
        client.kill()
        await client.wait()
        for operation in (
            client.open_stream,
            client.accept_stream,
            client.dial,
            client.listener().accept,
            near.receive_some,
            near.send_eof,
            near.wait_send_all_might_not_block,
        ):
            with pytest.raises(muxpy.SessionClosed):
                await operation()
        with pytest.raises(muxpy.SessionClosed):
            await near.send_all(b"x")
        client.go_away()
        near.reset()
        await near.aclose()
        await client.aclose()
        assert repr(client).startswith("<muxpy.Session client")


@bounded(600)
async def test_leaving_by_an_exception_is_kill_and_not_wrapped(autojump_clock: Clock) -> None:
    error = KeyError("mine")
    start = trio.current_time()
    with pytest.raises(KeyError) as caught:  # noqa: PT012 - the block is what raises
        async with raw_session() as (session, peer):
            await session.open_stream()
            await wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert trio.current_time() == start
    assert (await session.wait()).code == muxpy.ErrorCode.CANCEL
    # No GOAWAY: the peer can tell that this was not in order.
    assert "GOAWAY" not in [frame.name for frame in await peer.rest()]


@bounded(600)
async def test_leaving_by_cancellation_is_kill(autojump_clock: Clock) -> None:
    start = trio.current_time()
    with trio.move_on_after(1) as scope:
        async with raw_session() as (session, _):
            await session.open_stream()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == start + 1
    assert (await session.wait()).code == muxpy.ErrorCode.CANCEL


@bounded()
async def test_leaving_by_an_exception_group_keeps_it_as_it_is(autojump_clock: Clock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with raw_session():
            raise ExceptionGroup("two", [KeyError(1), ValueError(2)])
    assert len(caught.value.exceptions) == 2


@bounded()
async def test_the_end_of_the_session_alone_does_not_leave_the_block(autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer):
        await peer.aclose()
        end = await session.wait()
        assert end.error is not None
        await trio.sleep(5)
    # Leaving it in order is no error either: who cares asks `wait`.


# ---- idle_timeout ----


@bounded(600)
async def test_an_idle_session_ends_in_order(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(idle_timeout=30)
    start = trio.current_time()
    async with session_pair(server_config=config) as (client, server):
        end = await client.wait()
        assert end.error is None
        assert end.remote_code == muxpy.ErrorCode.NO_ERROR
        assert end.remote_debug == b"idle"
        assert (await server.wait()).error is None
        assert trio.current_time() - start == pytest.approx(30, abs=1)


@bounded(6000)
async def test_idle_time_counts_from_the_last_stream(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(idle_timeout=30)
    async with session_pair(server_config=config) as (client, server):
        await trio.sleep(5)
        near, far = await stream_pair(client, server)
        await trio.sleep(54)  # open for longer than the timeout
        await near.aclose()
        await far.aclose()
        start = trio.current_time()
        await client.wait()
        assert trio.current_time() - start == pytest.approx(30, abs=1)


@bounded(6000)
async def test_a_session_with_traffic_now_and_then_is_not_idle(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(idle_timeout=30)
    async with session_pair(server_config=config) as (client, server):
        for _ in range(10):
            await trio.sleep(29)
            await assert_echo(client, server)


# ---- statistics and addresses ----


@bounded()
async def test_statistics_count_what_passes(autojump_clock: Clock) -> None:
    async with session_pair(client_extensions=QUIET, server_extensions=QUIET) as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_all(bytes(20_000))
        received = 0
        while received < 20_000:
            received += len(await far.receive_some())
        sent, got = client.statistics(), server.statistics()
        assert (sent.streams_open, sent.streams_opened, sent.streams_accepted) == (1, 1, 0)
        assert (got.streams_open, got.streams_opened, got.streams_accepted) == (1, 0, 1)
        assert got.data_received == 20_000
        assert got.frames_received == sent.frames_sent == 3  # SYN and two of DATA
        assert got.bytes_received == sent.bytes_sent == 20_000 + 3 * 8
        assert got.backlog == got.streams_refused == got.control_frames_waiting == 0
        assert got.reads > 0
        assert sent.writes > 0
        assert got.receive_budget_left <= server.config.receive_budget
        assert sent.rtt is None
        assert not sent.heartbeat
        near.reset()


@pytest.mark.parametrize("kind", ["tcp", "tls", "ssl_stream_tcp"])
@bounded()
async def test_addresses_are_those_of_the_transport(kind: str) -> None:
    async with session_pair(kind) as (client, server):
        assert client.local_address == server.remote_address
        assert client.remote_address == server.local_address
        assert isinstance(client.remote_address, tuple)
        assert client.remote_address[0] == "127.0.0.1"
        near, far = await stream_pair(client, server)
        assert near.local_address == far.remote_address == client.local_address
        assert near.remote_address == far.local_address == client.remote_address
        assert str(client.remote_address[1]) in repr(client)
        near.reset()
        far.reset()


# ---- many ----


@bounded()
async def test_idle_streams_hold_no_tasks(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        streams = [await stream_pair(client, server) for _ in range(500)]
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert client.statistics().streams_open >= 500
        for pair in streams:
            for stream in pair:
                await stream.aclose()
        await wait_all_tasks_blocked()
        assert client.statistics().streams_open == server.statistics().streams_open
        assert client.statistics().streams_open <= 2  # the heartbeats

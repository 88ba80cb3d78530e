"""Splices that fail or are broken off: by the socket, the stream, the session, a cancellation, a wrong use."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.session._ending import Cause, SessionEvent
from tests.helpers.splices import (
    BULK,
    STATES,
    WINDOW,
    Joint,
    both_blocked,
    both_ways,
    digest,
    joint,
    limit,
    peer_ended,
    reset,
    send,
    socket_ended,
    socket_full,
    waiting_for_window,
)
from tests.helpers.tasks import assert_echo, bounded, cancel_at, moments, read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


# ---- errors at the socket ----


@bounded()
async def test_a_socket_that_is_reset_breaks_the_stream(way: str) -> None:
    async with joint(near="tcp") as one:
        outcome = one.start()
        await one.outer.send_all(b"part")
        assert await one.peer.receive_some() == b"part"
        reset(one.outer)
        error = await outcome.expect(trio.BrokenResourceError)
        assert isinstance(error and error.__cause__, ConnectionResetError)
        await one.stream.aclose()  # which must not make what came look whole
        with pytest.raises(muxpy.StreamReset) as caught:
            await one.peer.receive_some()
        assert caught.value.code == muxpy.ErrorCode.CANCEL
        await assert_echo(one.client, one.server)


@bounded()
async def test_a_socket_is_reset_while_its_bytes_stand_in_line() -> None:
    async with joint(near="tcp") as one:
        outcome = one.start()
        await one.outer.send_all(BULK[: 2 * WINDOW])
        await wait_all_tasks_blocked()
        assert one.stream._waiting.unsent
        reset(one.outer)
        await outcome.expect(trio.BrokenResourceError)
        one.stream.reset()
        with pytest.raises(muxpy.StreamReset):
            await read_all(one.peer)
        await assert_echo(one.client, one.server)


@bounded()
async def test_a_socket_is_reset_while_it_is_full() -> None:
    async with joint(near="tcp") as one:
        limit(one.inner, 4096)
        limit(one.outer, 4096)
        outcome = one.start()

        async def pour() -> None:
            with pytest.raises(muxpy.StreamReset):
                await one.peer.send_all(BULK)

        one.nursery.start_soon(pour)
        await wait_all_tasks_blocked()
        assert one.stream._state.incoming.buffered
        reset(one.outer)
        await outcome.expect(trio.BrokenResourceError)
        await one.stream.aclose()
        with pytest.raises(muxpy.StreamReset):
            await one.peer.receive_some()


@bounded()
async def test_a_write_from_the_read_buffer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived is kept and not counted as passed on."""
    async with joint() as one:
        outcome = one.start()
        await wait_all_tasks_blocked()
        assert one.stream._state.incoming.direct
        await one.outer.aclose()
        one.client._engine.core.sending.submit_small(one.peer._state, b"for nobody")
        one.client._engine.writer.poke()
        await outcome.expect(trio.BrokenResourceError)
        one.stream.reset()
        await assert_echo(one.client, one.server)


# ---- errors at the stream ----


@pytest.mark.parametrize("state", STATES)
@bounded()
async def test_the_peer_resets_the_stream(state: Callable[[Joint], Awaitable[None]], way: str) -> None:
    async with joint() as one:
        outcome = one.start()
        await state(one)
        await wait_all_tasks_blocked()
        one.peer.reset(muxpy.ErrorCode.REFUSED_STREAM)
        if way == "poller" or state not in (socket_full, peer_ended):  # who waits for the socket learns nothing
            error = await outcome.expect(muxpy.StreamReset)
            assert isinstance(error, muxpy.StreamReset)
            assert error.code == muxpy.ErrorCode.REFUSED_STREAM
        await assert_echo(one.client, one.server)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("close", [False, True], ids=["reset", "close"])
@bounded()
async def test_another_task_ends_the_stream(state: Callable[[Joint], Awaitable[None]], close: bool) -> None:
    async with joint() as one:
        outcome = one.start()
        await state(one)
        await wait_all_tasks_blocked()
        if close:
            await one.stream.aclose()
        else:
            one.stream.reset()
        await outcome.expect(trio.ClosedResourceError)
        await assert_echo(one.client, one.server)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("end", ["killed here", "killed there", "closed there"])
@bounded()
async def test_the_session_ends(state: Callable[[Joint], Awaitable[None]], end: str) -> None:
    async with joint() as one:
        outcome = one.start()
        await state(one)
        await wait_all_tasks_blocked()
        if end == "killed here":
            one.server.kill()
        elif end == "killed there":
            one.client.kill()
        else:
            one.client._engine.decide(SessionEvent.FINISHED, Cause())
        if state in (socket_full, both_blocked):  # what had arrived before goes to the socket all the same
            await one.server.wait()
            await wait_all_tasks_blocked()
            assert not outcome.done.is_set()
            received = b""
            while len(received) < WINDOW:
                received += await one.outer.receive_some()
            assert digest(received) == digest(BULK[:WINDOW])
        await outcome.expect(muxpy.SessionClosed)


@bounded()
async def test_the_session_ends_after_the_stream_did_with_bytes_that_the_socket_does_not_take_yet() -> None:
    """All that the peer said reaches the socket, the end too; that the other direction is lost is an error."""
    async with joint() as one:
        outcome = one.start()
        await socket_full(one)
        await one.peer.send_eof()
        await wait_all_tasks_blocked()
        one.client.kill()
        await one.server.wait()
        assert digest(await read_all(one.outer)) == digest(BULK[:WINDOW])
        await outcome.expect(muxpy.SessionClosed)


@bounded()
async def test_a_session_that_is_over_still_gives_what_it_had() -> None:
    async with joint() as one:
        await one.peer.send_all(b"last words")
        await wait_all_tasks_blocked()
        one.client.kill()
        await one.server.wait()
        outcome = one.start()
        assert await one.outer.receive_some() == b"last words"
        await outcome.expect(muxpy.SessionClosed)


# ---- cancellation ----


@pytest.mark.parametrize("way", ["poller", "copying"], indirect=True)
@pytest.mark.parametrize("state", STATES)
@bounded()
async def test_a_splice_is_cancelled(state: Callable[[Joint], Awaitable[None]], way: str) -> None:
    async with joint() as one:
        outcome = one.start()
        await state(one)
        await wait_all_tasks_blocked()
        outcome.scope.cancel()
        await outcome.expect()
        if state is not socket_ended:
            with pytest.raises(trio.BrokenResourceError):
                await one.stream.send_all(b"more")
            await one.stream.aclose()
            with pytest.raises(muxpy.StreamReset):
                await read_all(one.peer)
        await assert_echo(one.client, one.server)


@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_a_splice_is_cancelled_at_any_moment(kind: str) -> None:
    """What had come by then is a beginning of what was sent, and the session goes on."""
    async with joint(kind) as first:
        for nth in moments():
            one = await first.another()
            limit(one.inner, 4096)
            received = bytearray()

            async def collect(source: trio.abc.ReceiveStream, into: bytearray) -> None:
                with suppress(trio.BrokenResourceError):
                    async for part in source:
                        into += part

            async def pour(sink: trio.abc.HalfCloseableStream) -> None:
                with suppress(trio.BrokenResourceError):
                    await send(sink, BULK[: 4 * WINDOW])

            back = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, one.outer, received)
                nursery.start_soon(collect, one.peer, back)
                nursery.start_soon(pour, one.peer)
                nursery.start_soon(pour, one.outer)
                cancelled = await cancel_at(nth, partial(one.stream.splice, one.inner), any_task=True)
                if cancelled:
                    one.stream.reset()
                    await one.inner.aclose()
            for whole in (received, back):
                assert whole == BULK[: len(whole)]
            await assert_echo(one.client, one.server)
            await one.aclose()
            if not cancelled:
                assert len(received) == len(back) == 4 * WINDOW
                break


# ---- wrong use ----


@bounded()
async def test_a_stream_is_for_one_splice_and_nobody_beside_it() -> None:
    async with joint() as one:
        two = await one.another()
        outcome = one.start()
        await wait_all_tasks_blocked()
        for use in (
            partial(one.stream.splice, two.inner),
            partial(one.stream.send_all, b"x"),
            one.stream.send_eof,
            one.stream.receive_some,
            one.stream.wait_send_all_might_not_block,
        ):
            with pytest.raises(trio.BusyResourceError):
                await use()
        await both_ways(one, b"there", b"back")
        await outcome.expect()
        await two.aclose()


@pytest.mark.parametrize("receives", [False, True])
@bounded()
async def test_a_stream_that_is_in_use_is_not_spliced(receives: bool, way: str) -> None:
    async with joint() as one:
        if receives:
            one.nursery.start_soon(one.stream.receive_some)
        else:
            one.nursery.start_soon(one.stream.send_all, bytes(2 * WINDOW))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await one.stream.splice(one.inner)


@bounded()
async def test_a_socket_is_for_one_splice() -> None:
    async with joint() as one:
        two = await one.another()
        outcome = one.start()
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await two.stream.splice(one.inner)
        await both_ways(one, b"there", b"back")
        await outcome.expect()
        outcome = two.start()  # which was none the worse for it
        await both_ways(two, b"there", b"back")
        await outcome.expect()
        await two.aclose()


@bounded()
async def test_a_socket_that_is_closed_is_not_spliced(way: str) -> None:
    async with joint() as one:
        await one.inner.aclose()
        outcome = one.start()
        await outcome.expect(trio.ClosedResourceError)


@bounded()
async def test_a_stream_whose_last_send_was_cut_short_is_not_spliced() -> None:
    async with joint() as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.stream.send_all, bytes(2 * WINDOW))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(trio.BrokenResourceError, match="can only be closed"):
            await one.stream.splice(one.inner)


@pytest.mark.parametrize("news", ["data", "window", "end", "cancelled", "socket"])
@bounded()
async def test_a_socket_that_is_closed_under_a_splice_hurts_nobody_else(news: str) -> None:
    """It may take a while to be noticed. But its number may be another socket's then, which is left alone."""
    async with joint() as one:
        if news == "window":
            await waiting_for_window(one)
        outcome = one.start()
        await wait_all_tasks_blocked()
        number = one.inner.socket.fileno()
        one.inner.socket.close()
        two = await one.another()
        assert number in (two.inner.socket.fileno(), two.outer.socket.fileno())
        if two.outer.socket.fileno() == number:
            two.inner, two.outer = two.outer, two.inner
        other = two.start()
        await wait_all_tasks_blocked()
        if news == "data":
            await one.peer.send_all(b"for nobody")
        elif news == "window":
            while one.stream._waiting.unsent:
                await one.peer.receive_some()
        elif news == "end":
            await one.peer.send_eof()
        if news == "cancelled":
            outcome.scope.cancel()
            await outcome.expect()
        elif news != "socket":
            await outcome.expect(trio.ClosedResourceError)
        await both_ways(two, BULK, BULK[::-1])
        await other.expect()
        await two.aclose()
        await assert_echo(one.client, one.server)

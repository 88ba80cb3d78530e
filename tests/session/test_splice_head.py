"""`head` of a splice, which runs first; and a peer that says things all at once."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import ErrorCode
from muxpy.frame.muxado import DATA, SYN, encode_rst, encode_wnd_inc
from muxpy.session._ending import Cause, SessionEvent
from muxpy.session._poller import Poller
from muxpy.session._splice import Splice
from tests.helpers.pairs import unix_pair
from tests.helpers.raw_peer import RawPeer, data
from tests.helpers.splices import (
    BULK,
    QUIET,
    WINDOW,
    Joint,
    Outcome,
    idle,
    joint,
    limit,
    reset,
    send,
    waiting_for_window,
)
from tests.helpers.tasks import assert_echo, bounded, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


# ---- head ----


@bounded()
async def test_head_takes_from_the_stream_first_while_the_socket_is_read_already(way: str) -> None:
    async with joint() as one:

        async def head() -> bytes:
            received = b""
            while len(received) < 4:
                received += await one.stream.receive_some()
            return received[4:]

        outcome = one.start(head=head, early=b"early ")
        await one.outer.send_all(b"before the head")
        assert await one.peer.receive_some() == b"before the head"
        await one.peer.send_all(b"HEAD")
        await wait_all_tasks_blocked()
        await one.peer.send_all(b"body")
        await one.peer.send_eof()
        assert await read_all(one.outer) == b"early body"
        await one.outer.send_eof()
        await outcome.expect()


@bounded()
async def test_head_returns_what_it_took_too_much(way: str) -> None:
    async with joint() as one:
        await one.peer.send_all(b"HEADbody ")
        outcome = one.start(head=lambda: _after(one.stream, 4))
        await wait_all_tasks_blocked()
        await send(one.peer, b"and more")
        assert await read_all(one.outer) == b"body and more"
        await one.outer.send_eof()
        await outcome.expect()


async def _after(stream: muxpy.Stream, count: int) -> bytes:
    return (await stream.receive_some())[count:]


@bounded()
async def test_head_raises(way: str) -> None:
    async with joint() as one:

        async def head() -> bytes:
            await wait_all_tasks_blocked()
            raise ValueError("not a head")

        outcome = one.start(head=head)
        await one.outer.send_all(b"part")
        await outcome.expect(ValueError)
        await one.stream.aclose()
        with pytest.raises(muxpy.StreamReset):
            await read_all(one.peer)
        await assert_echo(one.client, one.server)


@bounded()
async def test_head_is_cancelled_when_the_socket_breaks(way: str) -> None:
    async with joint(near="tcp") as one:
        outcome = one.start(head=trio.sleep_forever)
        await wait_all_tasks_blocked()
        reset(one.outer)
        await outcome.expect(trio.BrokenResourceError)


@pytest.mark.parametrize("state", [idle, waiting_for_window])
@pytest.mark.parametrize("how", ["reset by the peer", "reset", "closed"])
@bounded()
async def test_head_is_cancelled_when_the_stream_breaks(how: str, state: Callable[[Joint], Awaitable[None]]) -> None:
    """And nothing more of the socket is sent on it."""
    async with joint() as one:
        outcome = one.start(head=trio.sleep_forever)
        await state(one)
        await wait_all_tasks_blocked()
        if how == "reset by the peer":
            one.peer.reset()
        elif how == "reset":
            one.stream.reset()
        else:
            await one.stream.aclose()
        sent = one.stream._state.sent
        await one.outer.send_all(b"for nobody")
        await outcome.expect(muxpy.StreamReset if how == "reset by the peer" else trio.ClosedResourceError)
        await wait_all_tasks_blocked()
        if how != "reset by the peer":  # which takes its time to arrive
            assert one.stream._state.sent == sent


@bounded()
async def test_head_that_receives_is_told_that_the_stream_breaks() -> None:
    async with joint() as one:
        outcome = one.start(head=lambda: _after(one.stream, 0))
        await wait_all_tasks_blocked()
        one.peer.reset()
        await outcome.expect(muxpy.StreamReset)


@bounded()
async def test_the_session_ends_during_head() -> None:
    """Nothing more is read from the socket; head is told when it asks for more, or what it has is written."""
    async with joint() as one:
        go_on = trio.Event()

        async def head() -> bytes:
            await go_on.wait()
            return b"last words"

        outcome = one.start(head=head)
        await wait_all_tasks_blocked()
        one.client.kill()
        await one.server.wait()
        await one.outer.send_all(b"for nobody")
        await wait_all_tasks_blocked()
        assert one.stream._state.sent == 0
        go_on.set()
        assert await one.outer.receive_some() == b"last words"
        await outcome.expect(muxpy.SessionClosed)


# ---- a peer that writes by hand ----


RawJoint: TypeAlias = tuple[muxpy.Session, RawPeer, muxpy.Stream, trio.SocketStream, trio.SocketStream]


@asynccontextmanager
async def raw_joint() -> AsyncIterator[RawJoint]:
    """A session over a Unix socket whose other end is a script, a stream of it, and a socket pair."""
    near, far = unix_pair()
    limit(near, 4096)
    outer, inner = unix_pair()
    async with muxpy.open_session(near, client=True, config=QUIET, extensions=[]) as session, outer, inner, far:
        stream = await session.open_stream()
        peer = RawPeer(far)
        await peer.expect(SYN)
        try:
            yield session, peer, stream, inner, outer
        finally:
            session.kill()


@bounded()
async def test_data_and_end_in_one_read() -> None:
    async with raw_joint() as (_, peer, stream, inner, outer), trio.open_nursery() as nursery:
        nursery.start_soon(stream.splice, inner)
        await wait_all_tasks_blocked()
        await peer.send(data(stream.id, b"one "), data(stream.id, b"two "), data(stream.id, b"three", fin=True))
        assert await read_all(outer) == b"one two three"
        await send(outer, b"four")
        assert (await peer.expect(DATA)).body == b"four"
        assert (await peer.expect(DATA)).fin


@bounded()
async def test_data_and_reset_in_one_read() -> None:
    async with raw_joint() as (_, peer, stream, inner, outer):
        outcome = Outcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome.record, stream.splice, inner)
            await wait_all_tasks_blocked()
            await peer.send(data(stream.id, b"lost"), encode_rst(stream.id, ErrorCode.CANCEL))
            await outcome.expect(muxpy.StreamReset)
        inner.socket.close()
        assert await read_all(outer) == b""


@bounded()
async def test_a_broken_frame_after_data_in_one_read() -> None:
    """What came before the error that ends the session reaches the socket."""
    async with raw_joint() as (_, peer, stream, inner, outer):
        outcome = Outcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome.record, stream.splice, inner)
            await wait_all_tasks_blocked()
            await peer.send(data(stream.id, b"last words"), encode_rst(stream.id + 2, ErrorCode.CANCEL))
            assert await outer.receive_some() == b"last words"
            await outcome.expect(muxpy.SessionClosed)


@bounded()
async def test_bytes_that_stand_in_a_write_stay_what_they_are_when_the_session_ends() -> None:
    """A buffer of the poller must not be used again while the last words of the session are written from it."""
    async with raw_joint() as (session, peer, stream, inner, outer), joint() as other:
        await peer.send(encode_wnd_inc(stream.id, 1024 * 1024))
        outcome = Outcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome.record, stream.splice, inner)
            await wait_all_tasks_blocked()
            outer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
            assert await outer.socket.send(BULK[: 2 * WINDOW]) == 2 * WINDOW
            other_outcome = other.start()
            await wait_all_tasks_blocked()
            assert isinstance(stream._waiting.splice, Splice)
            assert stream._waiting.splice._buffer is not None
            # All in one turn of the scheduler: the session ends, and another socket is read.
            await other.outer.socket.send(bytes(2 * WINDOW))
            session._engine.decide(SessionEvent.FINISHED, Cause())
            Poller.current()._turn()
            received = b""
            while (frame := await peer.receive()) is not None and frame.kind == DATA:
                received += frame.body
            assert received
            assert received == BULK[: len(received)]
            await outcome.expect(muxpy.SessionClosed)
        other_outcome.scope.cancel()

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


class Head:
    """Takes the first `size` bytes, and returns what else it was given."""

    def __init__(self, size: int) -> None:
        self.given: list[bytes] = []
        self._size = size

    def __call__(self, data: bytes) -> bytes | None:
        self.given.append(data)
        received = b"".join(self.given)
        return received[self._size :] if len(received) >= self._size else None


@bounded()
async def test_head_takes_from_the_stream_first_while_the_socket_is_read_already(way: str) -> None:
    async with joint() as one:
        head = Head(4)
        outcome = one.start(head=head, early=b"early ")
        await one.outer.send_all(b"before the head")
        assert await one.peer.receive_some() == b"before the head"
        for part in (b"HE", b"AD"):
            await one.peer.send_all(part)
            await wait_all_tasks_blocked()
        await one.peer.send_all(b"body")
        await one.peer.send_eof()
        assert await read_all(one.outer) == b"early body"
        await one.outer.send_eof()
        await outcome.expect()
        assert head.given == [b"HE", b"AD"]


@bounded()
async def test_head_returns_what_it_took_too_much(way: str) -> None:
    async with joint() as one:
        await one.peer.send_all(b"HEADbody ")
        outcome = one.start(head=Head(4))
        await wait_all_tasks_blocked()
        await send(one.peer, b"and more")
        assert await read_all(one.outer) == b"body and more"
        await one.outer.send_eof()
        await outcome.expect()


@bounded()
async def test_head_is_told_of_the_end_once(way: str) -> None:
    """What it returns then goes to the socket; None is nothing."""
    for last, expected in ((b"for you", b"for you"), (None, b"")):
        async with joint() as one:
            given: list[bytes] = []

            def head(data: bytes, given: list[bytes] = given, last: bytes | None = last) -> bytes | None:
                given.append(data)
                return None if data else last

            outcome = one.start(head=head)
            await send(one.peer, b"HE")
            assert await read_all(one.outer) == expected
            await one.outer.send_eof()
            await outcome.expect()
            assert given == [b"HE", b""]


@bounded()
async def test_head_raises(way: str) -> None:
    async with joint() as one:

        def head(data: bytes) -> bytes:
            raise ValueError("not a head")

        outcome = one.start(head=head)
        await one.outer.send_all(b"part")
        await one.peer.send_all(b"HEAD")
        await outcome.expect(ValueError)
        await one.stream.aclose()
        with pytest.raises(muxpy.StreamReset):
            await read_all(one.peer)
        await assert_echo(one.client, one.server)


@bounded()
async def test_the_socket_breaks_before_the_head_has_come(way: str) -> None:
    async with joint(near="tcp") as one:
        outcome = one.start(head=Head(4))
        await wait_all_tasks_blocked()
        reset(one.outer)
        await outcome.expect(trio.BrokenResourceError)


@pytest.mark.parametrize("state", [idle, waiting_for_window])
@pytest.mark.parametrize("how", ["reset by the peer", "reset", "closed"])
@bounded()
async def test_the_stream_breaks_before_the_head_has_come(how: str, state: Callable[[Joint], Awaitable[None]]) -> None:
    """Nothing more of the socket is sent on it, and the head is not told of an end."""
    async with joint() as one:
        head = Head(4)
        outcome = one.start(head=head)
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
        assert not head.given
        if how != "reset by the peer":  # which takes its time to arrive
            assert one.stream._state.sent == sent


@bounded()
async def test_the_session_ends_before_the_head_has_come() -> None:
    """Nothing more is read from the socket, and the head is not told of an end."""
    async with joint() as one:
        head = Head(4)
        outcome = one.start(head=head)
        await one.peer.send_all(b"HE")
        await wait_all_tasks_blocked()
        one.client.kill()
        await one.server.wait()
        await one.outer.send_all(b"for nobody")
        await outcome.expect(muxpy.SessionClosed)
        assert one.stream._state.sent == 0
        assert head.given == [b"HE"]


@bounded()
async def test_the_session_ends_with_the_head() -> None:
    """What had come is written."""
    async with joint() as one:
        await one.peer.send_all(b"HEADlast words")
        await wait_all_tasks_blocked()
        one.client.kill()
        await one.server.wait()
        outcome = one.start(head=Head(4))
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

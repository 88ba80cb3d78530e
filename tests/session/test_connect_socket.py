"""`Session.connect_socket`: a plain socket for others, joined to a stream in the background."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from tests.helpers.load import nothing_left, until
from tests.helpers.pacing import congestion_of, pace_by_default
from tests.helpers.pairs import session_pair
from tests.helpers.splices import BULK, QUIET, digest, limit
from tests.helpers.tasks import bounded, cancel_at, moments, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENT = muxpy.SessionConfig(heartbeat_interval=None, drain_timeout=100, linger_timeout=100)


def as_stream(one: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(one))


async def open_both(client: muxpy.Session, server: muxpy.Session) -> tuple[trio.SocketStream, muxpy.Stream]:
    """The socket, wrapped for Trio, and the peer's end."""
    near = await client.connect_socket()
    return as_stream(near), await server.accept_stream()


@bounded()
async def test_both_directions_and_their_ends() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server):
        near, far = await open_both(client, server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(far.send_all, BULK, end=True))
            assert digest(await read_all(near)) == digest(BULK)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, BULK)
            received = b""
            while len(received) < len(BULK):
                received += await far.receive_some()
        assert digest(received) == digest(BULK)
        await near.aclose()
        assert await far.receive_some() == b""


@bounded()
async def test_it_is_not_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    pace_by_default(monkeypatch)
    async with session_pair("unix") as (client, server):
        near, far = await open_both(client, server)
        assert congestion_of(near.socket) == b"reno"
        await near.aclose()
        await far.aclose()


@bounded()
async def test_a_half_close_goes_through_and_the_answer_comes_back() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server):
        near, far = await open_both(client, server)
        async with near, far:
            await near.send_all(b"question")
            await near.send_eof()
            assert await read_all(far) == b"question"
            await far.send_all(b"answer", end=True)
            assert await read_all(near) == b"answer"
            await until(lambda: far.statistics().finished)


@bounded()
async def test_it_blocks_as_sockets_do_and_may_be_used_in_a_thread() -> None:
    def ask() -> bytes:
        with trio.from_thread.run(client.connect_socket) as one:
            assert one.getblocking()
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as many libraries do
            assert one.getpeername()[0] == "127.0.0.1"
            one.sendall(b"question")
            one.shutdown(socket.SHUT_WR)
            return b"".join(iter(partial(one.recv, 4096), b""))

    async def answer(stream: muxpy.Stream) -> None:
        await stream.send_all(b"answer to " + await read_all(stream))

    async with nothing_left(), session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        assert await trio.to_thread.run_sync(ask) == b"answer to question"
        nursery.cancel_scope.cancel()


@bounded()
async def test_the_stream_has_the_priority_and_the_type() -> None:
    async with session_pair("tcp") as (client, server):
        with await client.connect_socket(7, stream_type=9):
            far = await server.accept_stream()
            assert (far.priority, far.stream_type) == (7, 9)
            await far.aclose()


@bounded()
async def test_a_socket_that_is_closed_ends_its_direction_and_what_the_peer_still_sends_is_reset() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server):
        near, far = await open_both(client, server)
        await near.aclose()
        assert await far.receive_some() == b""
        await far.send_all(b"x")
        cut = await far.wait_ended()
        assert isinstance(cut, muxpy.StreamReset)
        assert cut.code == muxpy.ErrorCode.CANCEL


@bounded()
async def test_a_reset_of_the_socket_resets_the_stream() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server):
        near, far = await open_both(client, server)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near.socket.close()
        with pytest.raises(muxpy.StreamReset) as caught:
            await far.receive_some()
        assert caught.value.code == muxpy.ErrorCode.CANCEL


async def peer_resets(_: muxpy.Session, __: muxpy.Session, far: muxpy.Stream) -> None:
    far.reset()


async def peer_is_killed(_: muxpy.Session, server: muxpy.Session, __: muxpy.Stream) -> None:
    server.kill()


async def this_side_is_killed(client: muxpy.Session, _: muxpy.Session, __: muxpy.Stream) -> None:
    client.kill()


async def peer_closes(_: muxpy.Session, server: muxpy.Session, __: muxpy.Stream) -> None:
    await server.aclose()


@pytest.mark.parametrize("cut", [peer_resets, peer_is_killed, this_side_is_killed, peer_closes])
@bounded()
async def test_a_cut_resets_the_socket_and_never_looks_like_the_end(cut: Callable[..., object]) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, drain_timeout=0.0, linger_timeout=0.0)
    async with nothing_left(), session_pair("tcp", client_config=config, server_config=config) as (client, server):
        near, far = await open_both(client, server)
        await far.send_all(b"begun")
        assert await near.receive_some() == b"begun"
        await cut(client, server, far)  # type: ignore[misc]
        with pytest.raises(trio.BrokenResourceError) as caught:
            await near.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        await near.aclose()


@bounded()
async def test_a_stream_that_is_refused_resets_the_socket() -> None:
    config = muxpy.SessionConfig(heartbeat_interval=None, max_streams=0)
    async with nothing_left(), session_pair("tcp", client_config=QUIET, server_config=config) as (client, _):
        near = as_stream(await client.connect_socket())
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()
        await near.aclose()


@bounded()
async def test_when_the_peer_has_ended_its_session_a_slow_reader_still_gets_what_had_arrived() -> None:
    async with nothing_left(), session_pair("tcp", client_config=PATIENT, server_config=PATIENT) as (client, server):
        near, far = await open_both(client, server)
        limit(near, 64 * 1024)
        received = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(far.send_all, BULK, end=True))
            while far.statistics().data_sent < len(BULK):
                received += await near.receive_some(16_384)
        await near.send_eof()
        await until(lambda: far.statistics().finished)
        await server.aclose()
        await client.wait()
        received += await read_all(near)
        assert digest(received) == digest(BULK)
        await near.aclose()


@bounded()
async def test_only_the_other_direction_is_cut_off_if_all_has_come_when_the_session_ends() -> None:
    hasty = muxpy.SessionConfig(heartbeat_interval=None, drain_timeout=0)
    async with nothing_left(), session_pair("tcp", client_config=PATIENT, server_config=hasty) as (client, server):
        near, far = await open_both(client, server)
        limit(near, 16 * 1024)  # so that most of it waits where a reset would throw it away
        await far.send_all(BULK[:60_000], end=True)
        await server.aclose()
        await client.wait()
        await wait_all_tasks_blocked()
        assert await read_all(near) == BULK[:60_000]
        await near.aclose()


@bounded()
async def test_what_the_socket_has_not_taken_after_the_session_is_cut_off_in_the_end() -> None:
    """A reader that reads nothing must not keep the block from ending; and it learns that something is missing."""
    config = muxpy.SessionConfig(heartbeat_interval=None, drain_timeout=0.1, linger_timeout=0.1)
    async with nothing_left():
        async with session_pair("tcp", client_config=config, server_config=config) as (client, server):
            near, far = await open_both(client, server)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.send_all, bytes(64 * 1024 * 1024))  # more than all buffers in between
                await wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
            await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await read_all(near)
        await near.aclose()


@bounded()
async def test_no_socket_of_a_session_that_ends() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server):
        server.go_away()
        await client.wait_going_away()
        with pytest.raises(muxpy.SessionGoingAway):
            await client.connect_socket()
        client.kill()
        with pytest.raises(muxpy.SessionClosed):
            await client.connect_socket()


@bounded()
async def test_cancelled_anywhere_it_leaves_nothing() -> None:
    async def connect() -> None:
        (await client.connect_socket()).close()

    for nth in moments():
        async with (
            nothing_left(),
            session_pair("tcp", client_config=QUIET, server_config=QUIET) as (client, server),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(server.serve_streams, read_all)
            cancelled = await cancel_at(nth, connect)
            await until(lambda: client.statistics().streams_open == 0)
            nursery.cancel_scope.cancel()
        if not cancelled:
            return


@bounded()
async def test_strangers_who_are_quicker_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody on this machine may connect to the port that is open for a moment."""
    strangers: list[socket.socket] = []

    def listen(self: socket.socket, *_: int) -> None:
        listen_really(self)
        strangers.append(socket.create_connection(self.getsockname()))

    listen_really = socket.socket.listen
    async with nothing_left(), session_pair("tcp") as (client, server):
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "listen", listen)
            near, far = await open_both(client, server)
        [stranger] = strangers
        with stranger:
            assert stranger.recv(1) == b""
        await far.send_all(b"for the right one", end=True)
        assert await read_all(near) == b"for the right one"
        await near.aclose()
        await far.aclose()


@bounded()
async def test_without_descriptors_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    async with nothing_left(), session_pair("tcp") as (client, _):
        with monkeypatch.context() as patch:
            patch.setattr(trio.socket, "socket", none)
            with pytest.raises(OSError, match="too many open files"):
                await client.connect_socket()
        assert client.statistics().streams_opened <= 1  # a heartbeat's

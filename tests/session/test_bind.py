"""`Session.bind`, and `forward_to` at the other end: connections that streams carry."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.session import _binding
from tests.helpers.load import nothing_left, until
from tests.helpers.pacing import congestion_of, pace_by_default
from tests.helpers.pairs import session_pair
from tests.helpers.splices import BULK, QUIET, digest, reset
from tests.helpers.tasks import bounded, cancel_at, echo, moments, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

HOST = "127.0.0.1"


@asynccontextmanager
async def target(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server on a port."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host=HOST))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def assert_echoed(near: trio.SocketStream, data: bytes = b"hello") -> None:
    async with near, trio.open_nursery() as nursery:
        nursery.start_soon(send, near, data)
        assert digest(await read_all(near)) == digest(data)


async def send(near: trio.SocketStream, data: bytes) -> None:
    await near.send_all(data)
    await near.send_eof()


async def assert_reset(near: trio.SocketStream) -> None:
    async with near:
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()


# ---- both ends ----


@bounded()
async def test_the_connection_to_a_port_is_not_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    pace_by_default(monkeypatch)
    opened: list[trio.SocketStream] = []
    connect = trio.open_tcp_stream

    async def record(host: str, port: int) -> trio.SocketStream:
        opened.append(await connect(host, port))
        return opened[-1]

    monkeypatch.setattr(trio, "open_tcp_stream", record)
    async with target(echo) as there, session_pair("unix") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.forward_to, there)
        async with await client.open_stream() as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            assert [congestion_of(one.socket) for one in opened] == [b"reno"]
            await stream.send_eof()
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


@bounded()
async def test_from_a_port_to_a_port() -> None:
    async with (
        nothing_left(),
        target(echo) as there,
        session_pair("tcp") as (client, server),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.forward_to, there)
        async with client.bind(0) as port, trio.open_nursery() as callers:
            for _ in range(20):
                callers.start_soon(assert_echoed, await trio.open_tcp_stream(HOST, port))
            callers.start_soon(assert_echoed, await trio.open_tcp_stream(HOST, port), BULK)
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream(HOST, port)
        nursery.cancel_scope.cancel()


@bounded()
async def test_from_a_path_to_a_path_and_in_the_other_direction(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    async with nothing_left(), session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.forward_to, far)  # the client reaches it for the server
        listener = trio.socket.socket(socket.AF_UNIX)
        await listener.bind(str(far))
        listener.listen()
        nursery.start_soon(trio.serve_listeners, echo, [trio.SocketListener(listener)])
        async with server.bind(near) as path:
            assert path is near
            assert stat.S_IMODE(near.stat().st_mode) == 0o600
            await assert_echoed(await trio.open_unix_socket(near), BULK)
        assert not near.exists()
        nursery.cancel_scope.cancel()


@bounded()
async def test_each_stream_may_go_to_a_target_of_its_own(tmp_path: Path) -> None:
    async def say(text: bytes, stream: trio.SocketStream) -> None:
        await stream.send_all(text)
        await stream.send_eof()
        await read_all(stream)

    async def choose(stream: muxpy.Stream) -> None:
        assert stream.priority == 5
        await stream.forward_to((HOST, targets[stream.stream_type]))

    async with (
        nothing_left(),
        target(partial(say, b"one")) as first,
        target(partial(say, b"two")) as second,
        session_pair("tcp") as (client, server),
        trio.open_nursery() as nursery,
    ):
        targets = {1: first, 2: second}
        nursery.start_soon(server.serve_streams, choose)
        async with client.bind(0, 5, stream_type=1) as one, client.bind(str(tmp_path / "two"), 5, 2) as two:
            async with await trio.open_tcp_stream(HOST, one) as near:
                assert await read_all(near) == b"one"
            async with await trio.open_unix_socket(two) as near:
                assert await read_all(near) == b"two"
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_target_that_refuses_resets_the_connection_and_the_peer_may_retry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # and does not listen
        for nobody in (taken.getsockname()[1], (HOST, taken.getsockname()[1]), tmp_path / "nobody"):
            async with (
                nothing_left(),
                session_pair("tcp") as (client, server),
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(server.forward_to, nobody)
                async with client.bind(0) as port:
                    await assert_reset(await trio.open_tcp_stream(HOST, port))
                cut = await (await client.open_stream()).wait_ended()
                assert isinstance(cut, muxpy.StreamReset)
                assert (cut.code, cut.retryable) == (muxpy.ErrorCode.REFUSED_STREAM, True)
                nursery.cancel_scope.cancel()
            assert f"cannot reach {nobody}: " in caplog.text


@bounded()
async def test_a_target_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    async with (
        session_pair("memory", client_config=QUIET, server_config=QUIET) as (client, server),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.forward_to, ("192.0.2.1", 80))
        begun = trio.current_time()
        cut = await (await client.open_stream()).wait_ended()
        assert isinstance(cut, muxpy.StreamReset)
        assert cut.code == muxpy.ErrorCode.REFUSED_STREAM
        assert trio.current_time() - begun == 10
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_reset_goes_through_in_both_directions() -> None:
    ended: list[str] = []

    async def wait_for_reset(stream: trio.SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        ended.append("reset")

    async def cut(stream: trio.SocketStream) -> None:
        reset(stream)

    for handler in (wait_for_reset, cut):
        async with (
            nothing_left(),
            target(handler) as there,
            session_pair("tcp") as (client, server),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(server.forward_to, there)
            async with client.bind(0) as port:
                near = await trio.open_tcp_stream(HOST, port)
                if handler is cut:
                    await assert_reset(near)
                else:
                    await until(lambda: server.statistics().streams_accepted >= 1)
                    reset(near)
                    await until(lambda: ended == ["reset"])
            nursery.cancel_scope.cancel()


@bounded()
async def test_forward_to_that_is_cancelled_resets_what_it_carries() -> None:
    resets = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal resets
        await stream.send_all(b"there")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        resets += 1

    async with nothing_left(), target(handler) as there, session_pair("tcp") as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.forward_to, there)
            stream = await client.open_stream()
            assert await stream.receive_some() == b"there"
            nursery.cancel_scope.cancel()
        with pytest.raises(muxpy.StreamReset):
            await stream.receive_some()
        await until(lambda: resets == 1)


@bounded()
async def test_forward_to_ends_with_the_session() -> None:
    async with nothing_left(), target(echo) as there:
        async with session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
            nursery.start_soon(server.forward_to, there)
            await client.aclose()
        async with session_pair("tcp") as (client, server):
            client.kill()
            with pytest.raises(muxpy.SessionClosed):
                await server.forward_to(there)


# ---- where it listens ----


@bounded()
async def test_only_an_abandoned_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "place"
    async with nothing_left(), session_pair("tcp") as (client, _):
        path.write_text("precious")
        with pytest.raises(OSError, match="in use"):
            await client.bind(path).__aenter__()
        assert path.read_text() == "precious"
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            with pytest.raises(OSError, match="in use"):
                await client.bind(path).__aenter__()
        async with client.bind(path):  # the other one has gone, and left its file
            with pytest.raises(OSError, match="in use"):
                await client.bind(path).__aenter__()
        assert not path.exists()


@bounded()
async def test_a_file_that_is_somebody_elses_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "place"
    async with nothing_left(), session_pair("tcp") as (client, _):
        async with client.bind(path):
            os.rename(path, tmp_path / "away")  # which keeps its inode
            path.touch()
        assert path.exists()


@bounded()
async def test_a_port_that_is_taken() -> None:
    async with nothing_left(), session_pair("tcp") as (client, _), client.bind(0) as port:
        with pytest.raises(OSError, match="in use"):
            await client.bind(port).__aenter__()


# ---- what happens to connections ----


@bounded()
async def test_at_the_end_of_the_block_open_connections_may_finish() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        async with client.bind(0) as port:
            near = await trio.open_tcp_stream(HOST, port)
            far = await server.accept_stream()
            nursery.start_soon(finish, port, near, far)
        await near.aclose()


async def finish(port: int, near: trio.SocketStream, far: muxpy.Stream) -> None:
    while True:  # until nothing is accepted any more
        try:
            (await trio.open_tcp_stream(HOST, port)).socket.close()
        except OSError:
            break
    await send(near, b"begun before")
    assert await read_all(far) == b"begun before"
    await far.aclose()
    assert await near.receive_some() == b""


@bounded()
async def test_at_the_end_of_the_block_there_is_a_limit_to_that() -> None:
    config = muxpy.SessionConfig(drain_timeout=0.05)
    async with nothing_left(), session_pair("tcp", client_config=config) as (client, server):
        async with client.bind(0) as port:
            near = await trio.open_tcp_stream(HOST, port)
            far = await server.accept_stream()
        await assert_reset(near)
        assert isinstance(await far.wait_ended(), muxpy.StreamReset)


@bounded()
async def test_an_exception_in_the_block_resets_them_and_comes_out_as_it_is() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server):
        connected: list[trio.SocketStream] = []

        async def fail() -> None:
            async with client.bind(0) as port:
                connected.append(await trio.open_tcp_stream(HOST, port))
                await server.accept_stream()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        await assert_reset(connected[0])


@bounded()
async def test_when_no_more_streams_can_be_opened_it_frees_the_place_and_open_connections_go_on() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server), client.bind(0) as port:
        near = await trio.open_tcp_stream(HOST, port)
        far = await server.accept_stream()
        server.go_away()
        await client.wait_going_away()
        await wait_all_tasks_blocked()
        async with session_pair("tcp") as (other, _), other.bind(port):
            pass
        with pytest.raises(muxpy.SessionGoingAway):
            client.bind(0)
        await send(near, b"still here")
        assert await read_all(far) == b"still here"
        await far.aclose()
        await near.aclose()


@bounded()
async def test_a_connection_that_comes_while_the_session_goes_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_late(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise muxpy.SessionGoingAway("the peer is going away")

    async with nothing_left(), session_pair("tcp") as (client, _):
        monkeypatch.setattr(client, "open_stream", too_late)
        async with client.bind(0) as port:
            await assert_reset(await trio.open_tcp_stream(HOST, port))


@pytest.mark.parametrize("killed", ["here", "there"])
@bounded()
async def test_when_the_session_ends_in_the_middle_its_connections_are_reset(killed: str) -> None:
    async with nothing_left(), session_pair("tcp") as (client, server), client.bind(0) as port:
        near = await trio.open_tcp_stream(HOST, port)
        far = await server.accept_stream()
        await far.send_all(b"begun")
        assert await near.receive_some() == b"begun"
        (client if killed == "here" else server).kill()
        await assert_reset(near)
        await until(lambda: client.end is not None)
        with pytest.raises(muxpy.SessionClosed):
            client.bind(0)


@bounded()
async def test_a_peer_that_refuses_streams_resets_connections() -> None:
    none = muxpy.SessionConfig(heartbeat_interval=None, max_streams=0)
    async with (
        nothing_left(),
        session_pair("tcp", client_config=QUIET, server_config=none) as (client, _),
        client.bind(0) as port,
    ):
        for _ in range(3):
            await assert_reset(await trio.open_tcp_stream(HOST, port))


@bounded()
async def test_connections_are_bounded_and_more_wait_until_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binding, "MOST_CONNECTIONS", 2)
    async with (
        nothing_left(),
        session_pair("tcp", client_config=QUIET, server_config=QUIET) as (client, server),
        client.bind(0) as port,
    ):
        near = [await trio.open_tcp_stream(HOST, port) for _ in range(3)]
        far = [await server.accept_stream() for _ in range(2)]
        await wait_all_tasks_blocked(0.01)
        assert client.statistics().streams_opened == 2
        reset(near[0])
        far.append(await server.accept_stream())
        for end in near[1:]:
            await end.aclose()
        for stream in far:
            await stream.aclose()


@bounded()
async def test_out_of_descriptors_it_waits_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ENFILE, "Too many open files")]

    async def accept(self: trio.SocketListener) -> trio.SocketStream:
        if errors:
            raise errors.pop()
        return await accept_really(self)

    accept_really = trio.SocketListener.accept
    monkeypatch.setattr(_binding, "PAUSE", 0.001)
    async with nothing_left(), session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        monkeypatch.setattr(trio.SocketListener, "accept", accept)
        nursery.start_soon(server.serve_streams, echo)
        async with client.bind(0) as port:
            await assert_echoed(await trio.open_tcp_stream(HOST, port))
        nursery.cancel_scope.cancel()
    assert caplog.text.count("connections wait until others end") == 1


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@bounded()
async def test_cancelled_anywhere_it_leaves_nothing(any_task: bool, tmp_path: Path) -> None:
    path = tmp_path / "place"

    async def use() -> None:
        async with client.bind(path), await trio.open_unix_socket(path) as near:
            await send(near, b"hello")
            assert await read_all(near) == b"hello"

    for nth in moments():
        async with (
            nothing_left(),
            session_pair("tcp", client_config=QUIET, server_config=QUIET) as (client, server),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(server.serve_streams, echo)
            await wait_all_tasks_blocked()
            cancelled = await cancel_at(nth, use, any_task=any_task)
            assert not path.exists()
            await until(lambda: client.statistics().streams_open == 0)
            nursery.cancel_scope.cancel()
        if not cancelled:
            return


@bounded()
async def test_forwarding_cancelled_anywhere_leaves_nothing() -> None:
    async def use() -> None:
        await server.forward_to(there)

    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await echo(stream)

    async with target(answer) as there:
        for nth in moments():
            async with (
                nothing_left(),
                session_pair("tcp", client_config=QUIET, server_config=QUIET) as (client, server),
                trio.open_nursery() as nursery,
            ):
                stream = await client.open_stream()
                await stream.send_all(b"hello", end=True)

                async def end(stream: muxpy.Stream, client: muxpy.Session, server: muxpy.Session) -> None:
                    async with stream:
                        with suppress(trio.BrokenResourceError):
                            assert await read_all(stream) == b"hello"
                    await client.aclose()
                    await server.aclose()

                nursery.start_soon(end, stream, client, server)
                cancelled = await cancel_at(nth, use, any_task=True)
                server.kill()
            if not cancelled:
                return

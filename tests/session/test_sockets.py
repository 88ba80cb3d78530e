"""Sessions over sockets: connecting, serving, TLS, and what goes wrong there."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
import trustme

import muxpy
from muxpy.frame.muxado import encode_syn
from muxpy.transport import _socket
from muxpy.transport._socket import LOCAL_QUEUE, SocketTransport, prepare_local
from tests.helpers.pacing import congestion_of, pace_by_default
from tests.helpers.pairs import client_context, server_context, session_pair, stream_pair, tcp_pair, unix_pair
from tests.helpers.raw_peer import data
from tests.helpers.tasks import assert_echo, bounded, echo, read_all

Handler = Callable[[muxpy.Session], Awaitable[object]]


async def serve_echo(session: muxpy.Session) -> None:
    await session.serve_streams(echo)


@asynccontextmanager
async def serving(
    handler: Handler = serve_echo,
    *,
    ssl_context: ssl.SSLContext | None = None,
    config: muxpy.SessionConfig | None = None,
    extensions: Callable[[], Iterable[muxpy.Extension]] | None = None,
) -> AsyncIterator[int]:
    """A server on a free port of 127.0.0.1."""
    serve = partial(
        muxpy.serve_tcp_sessions,
        handler,
        0,
        host="127.0.0.1",
        ssl_context=ssl_context,
        config=config,
        extensions=extensions,
    )
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def ask(port: int, *, ssl_context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> bytes:
    async with (
        muxpy.open_tcp_session(host, port, ssl_context=ssl_context) as session,
        await session.open_stream() as stream,
    ):
        await stream.send_all(b"hello")
        await stream.send_eof()
        return await read_all(stream)


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@bounded()
async def test_a_server_has_a_session_for_each_connection(secure: bool) -> None:
    server = server_context() if secure else None
    client = client_context() if secure else None
    async with serving(ssl_context=server) as port, trio.open_nursery() as nursery:
        answers = []

        async def one() -> None:
            answers.append(await ask(port, ssl_context=client))

        for _ in range(5):
            nursery.start_soon(one)
    assert answers == [b"hello"] * 5


@bounded()
async def test_a_handler_that_fails_does_not_touch_the_others(caplog: pytest.LogCaptureFixture) -> None:
    failed = trio.Event()

    async def handler(session: muxpy.Session) -> None:
        stream = await session.accept_stream()
        if await stream.receive_some() == b"fail":
            failed.set()
            raise ZeroDivisionError("on purpose")
        await stream.send_all(b"fine")
        await stream.aclose()

    async with (
        serving(handler) as port,
        muxpy.open_tcp_session("127.0.0.1", port) as bad,
        muxpy.open_tcp_session("127.0.0.1", port) as good,
    ):
        bad_stream, good_stream = await bad.open_stream(), await good.open_stream()
        await bad_stream.send_all(b"fail")
        await failed.wait()
        with pytest.raises(muxpy.SessionClosed):
            await bad_stream.receive_some()
        await good_stream.send_all(b"work")
        assert await read_all(good_stream) == b"fine"
        await good_stream.aclose()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


@bounded()
async def test_a_peer_that_vanishes_is_no_error_to_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"\x00\x00\x00\x01\x00\x00\x00\x03")
        assert await ask(port) == b"hello"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@bounded()
async def test_a_connection_that_is_reset_before_it_is_served_does_not_end_the_server() -> None:
    async with serving() as port:
        for _ in range(5):
            rude = socket.create_connection(("127.0.0.1", port))
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.close()  # RST
        assert await ask(port) == b"hello"


@bounded()
async def test_a_refused_connection_is_an_oserror() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="connect"):
            await ask(unused.getsockname()[1])


@bounded()
async def test_settings_reach_the_sessions_of_a_server() -> None:
    sessions: list[muxpy.Session] = []
    made = []

    async def handler(session: muxpy.Session) -> None:
        sessions.append(session)
        await serve_echo(session)

    def extensions() -> list[muxpy.Extension]:
        made.append(muxpy.Heartbeat())
        return [made[-1]]

    config = muxpy.SessionConfig(max_streams=7)
    async with serving(handler, config=config, extensions=extensions) as port:
        assert await ask(port) == b"hello"
        assert await ask(port) == b"hello"
    assert [session.config for session in sessions] == [config, config]
    assert len({id(one) for one in made}) == 2


# ---- TLS ----


@bounded()
async def test_a_certificate_that_nobody_signed_is_refused() -> None:
    strangers = ssl.create_default_context()
    trustme.CA().configure_trust(strangers)
    async with serving(ssl_context=server_context()) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, ssl_context=strangers)
        # The server goes on.
        assert await ask(port, ssl_context=client_context()) == b"hello"


@bounded()
async def test_a_certificate_for_another_host_is_refused() -> None:
    async with serving(ssl_context=server_context()) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            async with muxpy.open_tcp_session(
                "127.0.0.1", port, ssl_context=client_context(), server_hostname="other.example"
            ):
                raise AssertionError("the certificate is for another host")
        async with muxpy.open_tcp_session(
            "127.0.0.1", port, ssl_context=client_context(), server_hostname="localhost"
        ) as session:
            assert session.remote_address == ("127.0.0.1", port)


@bounded()
async def test_plain_bytes_to_a_tls_server_and_back_are_errors_not_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(ssl_context=server_context()) as port:
        async with muxpy.open_tcp_session("127.0.0.1", port) as session:
            end = await session.wait()
            assert end.error is not None
        assert await ask(port, ssl_context=client_context()) == b"hello"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    async with serving() as port:
        with pytest.raises(OSError):  # noqa: PT011 - SSLError or a reset, as it comes
            await ask(port, ssl_context=client_context())


PATIENCE = muxpy.SessionConfig().handshake_timeout or 0.0


@bounded()
async def test_a_handshake_that_does_not_come_is_not_waited_for(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(ssl_context=server_context()) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as silent,
    ):
        while trio.lowlevel.current_statistics().seconds_to_next_deadline > PATIENCE:
            await trio.lowlevel.checkpoint()  # until the server waits for the handshake
        mock_clock.jump(PATIENCE)
        assert await silent.receive_some() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@bounded()
async def test_a_client_does_not_wait_for_a_handshake_for_ever(mock_clock: trio.testing.MockClock) -> None:
    [silent] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with silent, trio.open_nursery() as nursery:

        async def connect() -> None:
            with pytest.raises(TimeoutError, match="no TLS handshake within 10 s"):
                async with muxpy.open_tcp_session(
                    "localhost", silent.socket.getsockname()[1], ssl_context=client_context()
                ):
                    pytest.fail("there is no session")

        nursery.start_soon(connect)
        async with await silent.accept() as server:
            assert (await server.receive_some())[:1] == b"\x16"  # it has begun
            mock_clock.jump(PATIENCE)
            assert await server.receive_some() == b""


@bounded()
async def test_an_end_without_close_notify_completes_nothing() -> None:
    """Whoever cuts the connection of two TLS peers must not make a part pass for the whole."""
    outcome: list[Exception] = []
    received = trio.Event()
    done = trio.Event()

    async def handler(session: muxpy.Session) -> None:
        stream = await session.accept_stream()
        assert await stream.receive_some() == b"a part"
        received.set()
        with pytest.raises(muxpy.SessionClosed) as caught:
            await stream.receive_some()
        outcome.append(caught.value)
        done.set()

    async with serving(handler, ssl_context=server_context()) as port:
        raw = await trio.open_tcp_stream("127.0.0.1", port)
        tls = trio.SSLStream(raw, client_context(), server_hostname="127.0.0.1")
        await tls.send_all(encode_syn(3) + data(3, b"a part"))
        await received.wait()
        await raw.send_eof()
        await done.wait()
        await raw.aclose()
    assert "close_notify" in str(outcome[0])


@bounded()
async def test_tls_is_taken_whatever_way_it_comes_in() -> None:
    """Our own TLS and Trio's understand each other, in both roles."""
    async with serving(ssl_context=server_context()) as port:
        raw = await trio.open_tcp_stream("127.0.0.1", port)
        tls = trio.SSLStream(raw, client_context(), server_hostname="127.0.0.1")
        async with (
            muxpy.open_session(tls, client=True, config=muxpy.SessionConfig(linger_timeout=0)) as session,
            await session.open_stream() as stream,
        ):
            await stream.send_all(b"x" * 50_000)
            await stream.send_eof()
            assert await read_all(stream) == b"x" * 50_000


# ---- bulk, where writes are partial ----


@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
@bounded()
async def test_more_than_the_kernel_takes_at_once(kind: str) -> None:
    payload = os.urandom(1 << 20) * 4
    async with session_pair(kind) as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        received = []

        async def send(stream: muxpy.Stream) -> None:
            await stream.send_all(payload)
            await stream.send_eof()

        async def receive(stream: muxpy.Stream) -> None:
            received.append(await read_all(stream))

        for stream in (near, far):
            nursery.start_soon(send, stream)
            nursery.start_soon(receive, stream)
    assert received == [payload, payload]


@pytest.mark.no_cover  # bulk
@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
@bounded()
async def test_a_thousand_small_streams_at_once(kind: str) -> None:
    async with session_pair(kind) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, echo)
        answers = 0

        async def one(number: int) -> None:
            nonlocal answers
            async with await client.open_stream() as stream:
                await stream.send_all(b"%d" % number)
                await stream.send_eof()
                assert await read_all(stream) == b"%d" % number
            answers += 1

        async with trio.open_nursery() as clients:
            for number in range(1000):
                clients.start_soon(one, number)
        assert answers == 1000
        await client.aclose()


@bounded()
async def test_a_socket_closed_from_outside_ends_the_session() -> None:
    one, two = unix_pair()
    async with two, muxpy.open_session(one, client=True) as session:
        await session.open_stream()
        await one.aclose()
        end = await session.wait()
        assert end.error is not None


@bounded()
async def test_a_write_that_fails_at_once() -> None:
    """The sender itself runs into it, before the reader has seen anything."""
    one, two = unix_pair()
    async with muxpy.open_session(one, client=True) as session:
        stream = await session.open_stream()
        two.socket.close()
        with pytest.raises(muxpy.SessionClosed) as caught:
            await stream.send_all(b"x" * 100)
        assert isinstance(caught.value.__cause__, OSError | trio.BrokenResourceError)
        with pytest.raises(muxpy.SessionClosed):
            await stream.send_all(b"y")


@bounded()
async def test_a_socket_whose_peer_is_gone_already() -> None:
    one, two = unix_pair()
    await two.aclose()
    async with muxpy.open_session(one, client=True) as session:
        assert (await session.wait()).error is not None
        with pytest.raises(muxpy.SessionClosed):
            await session.open_stream()


@bounded()
async def test_both_sides_open_streams_over_sockets() -> None:
    async with session_pair("tls") as (client, server):
        await assert_echo(client, server, os.urandom(30_000))
        await assert_echo(server, client, os.urandom(30_000))


@bounded()
async def test_a_reset_that_the_writer_noticed_first_is_the_reason() -> None:
    """The kernel tells of a reset once, to a write or to a read; the read after such a write sees an ordinary end."""
    one, two = unix_pair()
    async with muxpy.open_session(one, client=True, extensions=[]) as session:
        await trio.testing.wait_all_tasks_blocked()
        reset = ConnectionResetError(104, "Connection reset by peer")
        session._engine.writer._fail(reset)
        await two.aclose()
        assert (await session.wait()).error is reset


# ---- the kernel's receive buffer ----


def receive_buffer(session: muxpy.Session) -> int:
    transport = session._engine.transport
    assert isinstance(transport, SocketTransport)
    size = transport._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert isinstance(size, int)
    return size


def rmem_max(monkeypatch: pytest.MonkeyPatch, content: str | OSError) -> None:
    """Have the kernel's limit read as `content`."""

    def read(path: Path) -> str:
        assert path == Path("/proc/sys/net/core/rmem_max")
        if isinstance(content, OSError):
            raise content
        return content

    monkeypatch.setattr(Path, "read_text", read)


def ipv6_works() -> bool:
    with socket.socket(socket.AF_INET6) as one:
        try:
            one.bind(("::1", 0))
        except OSError:
            return False
        return True


class Connected:
    """A socket as far as `prepare_local` looks at it."""

    def __init__(self, family: int, peer: object, congestion: bytes) -> None:
        self.family = family
        self._peer = peer
        self._congestion = congestion
        self.options: list[tuple[int, int, int | bytes]] = []

    def getpeername(self) -> object:
        if isinstance(self._peer, OSError):
            raise self._peer
        return self._peer

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_CONGESTION)
        return self._congestion.ljust(size, b"\0")

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if value == b"reno" and self._congestion == b"bbr3":
            raise FileNotFoundError
        self.options.append((level, option, value))


def options_set(family: int, peer: object, congestion: bytes = b"cubic") -> list[tuple[int, int, int | bytes]]:
    connected = Connected(family, peer, congestion)
    prepare_local(cast("trio.socket.SocketType", connected))
    return connected.options


BOUNDED = [(socket.SOL_SOCKET, socket.SO_RCVBUF, LOCAL_QUEUE)]


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@bounded()
async def test_on_loopback_the_kernel_keeps_little_for_either_end(
    host: str, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    possible = _socket._largest_receive_buffer()
    if not possible or (host == "::1" and not ipv6_works()):
        pytest.skip("no /proc here, or no IPv6")
    rmem_max(monkeypatch, f"{LOCAL_QUEUE}\n")
    sizes: list[int] = []
    served = trio.Event()

    async def handler(session: muxpy.Session) -> None:
        sizes.append(receive_buffer(session))
        served.set()
        await session.wait()

    serve = partial(muxpy.serve_tcp_sessions, handler, 0, host=host, ssl_context=server_context() if secure else None)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve)
        async with muxpy.open_tcp_session(
            host,
            listener.socket.getsockname()[1],
            ssl_context=client_context() if secure else None,
            server_hostname="localhost",
        ) as client:
            await served.wait()
            sizes.append(receive_buffer(client))
        nursery.cancel_scope.cancel()
    assert sizes == [2 * min(LOCAL_QUEUE, possible)] * 2  # Linux counts its own part of the buffer too


@bounded()
async def test_so_it_does_on_a_connection_that_someone_else_made(monkeypatch: pytest.MonkeyPatch) -> None:
    possible = _socket._largest_receive_buffer()
    if not possible:
        pytest.skip("no /proc here")
    rmem_max(monkeypatch, f"{LOCAL_QUEUE}\n")
    one, two = await tcp_pair()
    async with (
        muxpy.open_session(one, client=True, extensions=[]) as client,
        muxpy.open_session(two, client=False, extensions=[]) as server,
    ):
        assert [receive_buffer(client), receive_buffer(server)] == [2 * min(LOCAL_QUEUE, possible)] * 2


@pytest.mark.parametrize(
    ("family", "peer"),
    [
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET, ("127.8.9.10", 80)),
        (socket.AF_INET6, ("::1", 80, 0, 0)),
        (socket.AF_INET6, ("::1%lo", 80, 0, 1)),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 80, 0, 0)),
    ],
)
def test_the_buffer_is_bounded_between_loopback_addresses(
    family: int, peer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmem_max(monkeypatch, f"{LOCAL_QUEUE}\n")
    assert options_set(family, peer) == BOUNDED


@pytest.mark.parametrize(
    ("family", "peer"),
    [
        (socket.AF_INET, ("192.0.2.1", 80)),
        (socket.AF_INET, ("10.0.0.1", 80)),
        (socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
        (socket.AF_INET6, ("fe80::1%eth0", 80, 0, 2)),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 80, 0, 0)),
        (socket.AF_UNIX, ""),
        (socket.AF_UNIX, "/run/127.0.0.1"),
        (socket.AF_INET, OSError("not connected")),
    ],
)
def test_over_a_distance_and_where_there_is_no_address_the_kernel_decides(
    family: int, peer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmem_max(monkeypatch, "4194304\n")
    assert options_set(family, peer) == []


@pytest.mark.parametrize(
    "content",
    [f"{LOCAL_QUEUE - 1}\n", "212992\n", "", "what is this", FileNotFoundError("no /proc"), PermissionError("no")],
)
def test_the_kernel_decides_where_it_would_allow_less_or_does_not_say(
    content: str | OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmem_max(monkeypatch, content)
    assert options_set(socket.AF_INET, ("127.0.0.1", 80)) == []


UNPACED = [*BOUNDED, (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")]


@pytest.mark.parametrize(
    ("congestion", "options"),
    [(b"bbr", UNPACED), (b"bbr2", UNPACED), (b"bbr3", BOUNDED), (b"cubic", BOUNDED), (b"reno", BOUNDED)],
    ids=["bbr", "a-later-one", "not-to-be-changed", "cubic", "reno"],
)
def test_between_loopback_addresses_nothing_is_paced(
    congestion: bytes, options: list[tuple[int, int, int | bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rmem_max(monkeypatch, f"{LOCAL_QUEUE}\n")
    assert options_set(socket.AF_INET, ("127.0.0.1", 80), congestion) == options
    assert options_set(socket.AF_INET, ("192.0.2.1", 80), congestion) == []


@bounded()
async def test_a_session_between_loopback_addresses_is_not_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    pace_by_default(monkeypatch)
    one, two = await tcp_pair()
    async with muxpy.open_session(one, client=True), muxpy.open_session(two, client=False):
        assert [congestion_of(stream.socket) for stream in (one, two)] == [b"reno"] * 2


@bounded()
async def test_a_connection_whose_peer_is_gone_is_left_alone() -> None:
    one, two = await tcp_pair()
    async with one:
        two.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        two.socket.close()  # RST
        with pytest.raises(OSError, match="reset"):
            await one.socket.recv(1)
        before = one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        prepare_local(one.socket)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before

"""Programs that speak something else: both ends say so in words, also if what came was cut short."""

from __future__ import annotations

import ssl
import subprocess
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import muxpy
from muxpy import ErrorCode, SessionConfig
from muxpy.frame.muxado import looks_like, looks_like_muxado
from tests.frame import wire
from tests.helpers.load import until
from tests.helpers.pairs import client_context, server_context, tcp_pair
from tests.helpers.raw_peer import RawPeer
from tests.helpers.tasks import LIMIT, bounded

from .scene import connected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_FRAME = 0.2
CONFIG = SessionConfig(first_frame_timeout=FIRST_FRAME, linger_timeout=0.1)


def client_hello() -> bytes:
    """What OpenSSL sends first."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.org").do_handshake()
    return outgoing.read()


TO_SERVERS = [
    (client_hello(), "TLS"),
    *(
        (method + b" / HTTP/1.1\r\nHost: example.org\r\n\r\n", "an HTTP request")
        for method in (b"GET", b"POST", b"PATCH", b"HEAD", b"PUT", b"DELETE", b"OPTIONS")
    ),
    (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", "an HTTP request"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"\x05\x01\x00", "a SOCKS 5 request"),
    (b"\x05\x02\x00\x02", "a SOCKS 5 request"),
    (b"\x04\x01\x00\x50\xc0\x00\x02\x01user\x00", "a SOCKS 4 request"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n", "a PROXY protocol header"),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), "a PROXY protocol header"),
]
TO_CLIENTS = [
    (b"220 mail.example.org ESMTP\r\n", "a mail or FTP server's greeting"),
    (b"220-welcome\r\n220 ftp.example.org\r\n", "a mail or FTP server's greeting"),
    (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "an HTTP server's answer"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"\x15\x03\x03\x00\x02\x02\x46", "TLS"),
]  # fmt: skip
ALL = [(False, *row) for row in TO_SERVERS] + [(True, *row) for row in TO_CLIENTS]


@pytest.mark.parametrize(("client", "opening", "name"), ALL)
@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("ends", [True, False], ids=["and_ends", "and_waits"])
async def test_a_stranger_is_told_what_it_looks_like(
    client: bool, opening: bytes, name: str, kind: str, ends: bool, mock_clock: trio.testing.MockClock
) -> None:
    words = f"this looks like {name}, not muxado: "
    async with connected(kind, client, CONFIG) as (session, far):
        await far.send_all(opening)
        if ends or client:  # a client sets no limit to how long its server may take
            await (far.send_eof() if isinstance(far, trio.SocketStream) else far.aclose())
        else:
            received = session.statistics
            await until(lambda: session._engine.ending.end is not None or received().bytes_received == len(opening))
            mock_clock.jump(FIRST_FRAME)
        if isinstance(far, trio.SocketStream):
            goaway = (await RawPeer(far).rest())[-1]
            assert goaway.debug.startswith(words)
        await far.aclose()
        end = await session.wait()
        assert isinstance(end.error, muxpy.ProtocolError)
        assert end.error.reason.startswith(words)


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize(("opening", "name"), TO_SERVERS)
@bounded()
async def test_a_stranger_that_is_cut_short_is_an_error_and_never_taken_for_another(
    opening: bytes, name: str, length: int
) -> None:
    async with connected("tcp", False, CONFIG) as (session, far):
        await far.send_all(opening[:length])
        await far.aclose()
        end = await session.wait()
        assert end.error is not None
        assert f"this looks like {name}, not muxado" in str(end) or "looks like" not in str(end)


@pytest.mark.parametrize(
    "frame",
    [wire.syn(stream_id, **options) for stream_id in (2, 3, 0x2F48, 0x7FFFFFFF)
     for options in ({}, {"stream_type": wire.EXTENSION, "priority": 0x7FFFFFFF}, {"fin": True})]
    + [wire.goaway(0, 2, bytes(length - 8)) for length in (0x0401, 0x1603, 0x1503, 0x3232, 0x3FFF)]
    + [wire.go_peers_goaway(0, 2, length - 16) for length in (0x0401, 0x1603, 0x1503, 0x3232, 0x3FFF)]
    + [wire.rst(2, 7), wire.wnd_inc(2, 65536), wire.goaway(0), wire.goaway(9, 2, b"no"), wire.go_peers_goaway(0)],
    ids=lambda frame: frame[:8].hex(),
)  # fmt: skip
def test_muxado_is_never_taken_for_something_else(frame: bytes) -> None:
    kind = frame[3]
    assert looks_like(frame) is None
    assert looks_like_muxado(frame) == (kind in (wire.SYN, wire.RST, wire.GOAWAY))


# ---- TLS ----


async def secure_session(stream: trio.SocketStream, *, client: bool, context: ssl.SSLContext | None = None) -> str:
    """Run a session with TLS on a socket that has something else at its other end; how that fails."""
    context = context or (client_context() if client else server_context())
    try:
        async with muxpy.open_session(
            stream, client=client, ssl_context=context, server_hostname="127.0.0.1" if client else None
        ):
            return "a session"
    except ssl.SSLError as error:
        return str(error)


@pytest.mark.parametrize(("client", "opening", "name"), [
    (False, wire.syn(3, priority=0x7FFFFFFF, stream_type=wire.EXTENSION), "plain muxado"),
    (False, wire.syn(3), "plain muxado"),
    *((client, opening, name) for client, opening, name in ALL if name != "TLS" and len(opening) > 4),
    (True, wire.syn(2, priority=0x7FFFFFFF, stream_type=wire.EXTENSION), "plain muxado"),
    (True, wire.goaway(0, 1, b"this looks like TLS, not muxado"), "plain muxado"),
])  # fmt: skip
@bounded()
async def test_a_handshake_with_a_stranger_says_what_it_met(client: bool, opening: bytes, name: str) -> None:
    one, two = await tcp_pair()
    async with one:
        await one.send_all(opening)
        assert f"this looks like {name}, not TLS" in await secure_session(two, client=client)


@bounded()
async def test_a_handshake_that_fails_for_its_own_reasons_says_those() -> None:
    distrustful, trusted = await two_sessions(
        partial(secure_session, client=True, context=ssl.create_default_context()),
        partial(secure_session, client=False),
    )
    assert "certificate verify failed" in distrustful
    assert "unknown ca" in trusted
    assert "looks like" not in distrustful + trusted


async def two_sessions(
    one: Callable[[trio.SocketStream], Awaitable[str]], two: Callable[[trio.SocketStream], Awaitable[str]]
) -> list[str]:
    """Join two sessions that do not fit; how each of them ended."""
    ends: dict[int, str] = {}

    async def run(number: int, side: Callable[[trio.SocketStream], Awaitable[str]], stream: trio.SocketStream) -> None:
        ends[number] = await side(stream)

    streams = await tcp_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, 0, one, streams[0])
        nursery.start_soon(run, 1, two, streams[1])
    return [ends[0], ends[1]]


async def plain_session(stream: trio.SocketStream, *, client: bool) -> str:
    async with muxpy.open_session(stream, client=client) as session:
        return str(await session.wait())


@bounded()
async def test_tls_on_one_side_only() -> None:
    with_tls, without = await two_sessions(partial(secure_session, client=True), partial(plain_session, client=False))
    assert "this looks like plain muxado, not TLS" in with_tls
    assert "this looks like TLS, not muxado" in without
    without, with_tls = await two_sessions(partial(plain_session, client=True), partial(secure_session, client=False))
    assert "this looks like plain muxado, not TLS" in with_tls
    # OpenSSL has no alert for what is no TLS record: it only closes.
    assert "without saying GOAWAY" in without or "reset by peer" in without.lower()


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@bounded()
async def test_two_sides_of_one_role(client: bool) -> None:
    side = partial(plain_session, client=client)
    for words in await two_sessions(side, side):
        assert f"are both sides the {'client' if client else 'server'}?" in words


@bounded()
async def test_two_sessions_one_after_the_other_on_one_connection() -> None:
    one, two = await tcp_pair()
    async with one, muxpy.open_session(two, client=False) as session:
        beginning = wire.syn(3, priority=0x7FFFFFFF, stream_type=wire.EXTENSION) + wire.data(3, bytes(4)) + wire.syn(5)
        await one.send_all(beginning + wire.data(5, b"of the first"))
        await one.send_all(beginning)
        end = await session.wait()
        assert "stream id 3 is not above the last one, 5; do two sessions write to one connection?" in str(end)
        assert end.code == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(("arguments", "name"), [
    (["http://127.0.0.1:{}/"], "an HTTP request"),
    (["-k", "https://127.0.0.1:{}/"], "TLS"),
    (["--http2-prior-knowledge", "http://127.0.0.1:{}/"], "HTTP/2"),
    (["--socks5", "127.0.0.1:{}", "http://192.0.2.1/"], "a SOCKS 5 request"),
    (["--socks4", "127.0.0.1:{}", "http://192.0.2.1/"], "a SOCKS 4 request"),
    (["--haproxy-protocol", "http://127.0.0.1:{}/"], "a PROXY protocol header"),
])  # fmt: skip
@bounded()
async def test_curl(arguments: list[str], name: str) -> None:
    ends: list[str] = []

    async def handle(session: muxpy.Session) -> None:
        ends.append(str(await session.wait()))

    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await muxpy.serve_tcp_sessions(handle, 0, host="127.0.0.1", config=CONFIG, task_status=task_status)

        (listener,) = await nursery.start(serve)
        port = listener.socket.getsockname()[1]
        command = [
            "curl",
            "-sS",
            "--max-time",
            f"{LIMIT:.0f}",
            "--noproxy",
            "" if arguments[0].startswith("--socks") else "*",
        ]
        said = "no frame was received"
        while said.startswith("no frame was received"):  # within so short a time, by a machine that is busy
            ends.clear()
            await trio.run_process(
                [*command, *(argument.format(port) for argument in arguments)],
                check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            await until(lambda: bool(ends))
            said = ends[0].removeprefix("PROTOCOL_ERROR: ")
        nursery.cancel_scope.cancel()
    assert f"this looks like {name}," in said

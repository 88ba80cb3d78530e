"""`open_session` with an `ssl_context`: TLS that muxpy speaks itself, on a socket that the program has made."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

import muxpy
from tests.helpers.pairs import client_context, server_context, session_pair, tcp_pair, unix_pair
from tests.helpers.tasks import assert_echo, bounded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def serve(stream: trio.SocketStream) -> None:
    async with muxpy.open_session(stream, client=False, ssl_context=server_context(), extensions=[]) as session:
        await session.serve_streams(_echo)


async def _echo(stream: muxpy.Stream) -> None:
    async for part in stream:
        await stream.send_all(part)


async def _unix() -> tuple[trio.SocketStream, trio.SocketStream]:
    return unix_pair()


@pytest.mark.parametrize("pair", [tcp_pair, _unix], ids=["tcp", "unix"])
@bounded()
async def test_tls_on_a_socket_of_the_program(
    pair: Callable[[], Awaitable[tuple[trio.SocketStream, trio.SocketStream]]],
) -> None:
    near, far = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, far)
        async with muxpy.open_session(
            near, client=True, ssl_context=client_context(), server_hostname="localhost", extensions=[]
        ) as session:
            assert session.tls is not None
            assert session.tls.version() == "TLSv1.3"
            assert session.tls.getpeercert()
            async with await session.open_stream() as stream:
                await stream.send_all(b"secret")
                assert await stream.receive_some() == b"secret"


@pytest.mark.parametrize(("name", "sent"), [("localhost.", "localhost"), ("127.0.0.1%lo", None)])
@bounded()
async def test_the_name_in_the_certificate_has_no_dot_at_its_end_and_no_zone(name: str, sent: str | None) -> None:
    """RFC 6066, section 3: nor has the name that the server is told (SNI); an address is not told."""
    asked: list[str | None] = []
    context = server_context()
    context.sni_callback = lambda _tls, name, _context: asked.append(name)
    near, far = await tcp_pair()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, far)
            async with muxpy.open_session(
                near, client=True, ssl_context=client_context(), server_hostname=name, extensions=[]
            ) as session:
                assert session.tls is not None
    finally:
        context.sni_callback = None
    assert asked == [sent]


@bounded()
async def test_without_an_ssl_context_there_is_no_tls() -> None:
    async with session_pair("unix") as (client, server):
        assert client.tls is server.tls is None
        await assert_echo(client, server)
    async with session_pair("ssl_stream") as (client, server):
        assert client.tls is server.tls is None  # it is the program's
        client.kill()
        server.kill()


@bounded()
async def test_a_certificate_for_another_name_is_refused_and_the_socket_closed() -> None:
    near, far = unix_pair()

    async def refused() -> None:
        with pytest.raises((ssl.SSLError, trio.BrokenResourceError)):
            await serve(far)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        with pytest.raises(ssl.SSLCertVerificationError):
            async with muxpy.open_session(
                near, client=True, ssl_context=client_context(), server_hostname="example.org"
            ):
                pass
    assert near.socket.fileno() == far.socket.fileno() == -1


@bounded()
async def test_tls_needs_a_socket() -> None:
    near, _ = memory_stream_pair()
    with pytest.raises(TypeError, match="SocketStream"):
        async with muxpy.open_session(near, client=True, ssl_context=client_context()):
            pass

"""HTTP/2 over TLS: ALPN, what RFC 9113, 9.2, forbids, and what either end says of a peer that does not fit."""

from __future__ import annotations

import logging
import ssl
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from muxpy.frame.http2 import PREFACE, encode_settings, parse_goaway
from tests.helpers.pairs import client_context, server_context
from tests.helpers.tasks import bounded

from .ends import GET, RawPeer, served, tcp_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def hello(exchange: http.Exchange) -> None:
    await exchange.respond(200, {}, b"hello")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server and of a client that trusts it, which nobody else changes."""
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def plain_tls_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that knows TLS and nothing of HTTP; its port."""

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1")
        (listener,) = await nursery.start(listen)
        yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@bounded()
async def test_alpn_chooses_it_and_the_session_shows_tls() -> None:
    async with served(hello, "tls") as client:
        assert await (await client.request("GET")).read() == b"hello"
        assert client.scheme == "https"
        tls = client.session.tls
        assert tls is not None
        assert tls.selected_alpn_protocol() == "h2"
        assert tls.version() == "TLSv1.3"


@pytest.mark.parametrize("offered", [None, ["http/1.1"]], ids=["nothing", "http_1.1"])
@bounded()
async def test_a_server_without_h2_is_refused(offered: list[str] | None, authority: trustme.CA) -> None:
    server, client = contexts(authority)
    if offered is not None:
        server.set_alpn_protocols(offered)
    async with plain_tls_server(server) as port:
        with pytest.raises(trio.BrokenResourceError, match="ALPN has not chosen h2"):
            async with http.connect(f"https://127.0.0.1:{port}", ssl_context=client):
                pass


@pytest.mark.parametrize("offered", [None, ["http/1.1"]], ids=["nothing", "http_1.1"])
@bounded()
async def test_a_client_without_h2_is_refused_and_the_log_says_why(
    offered: list[str] | None, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server, client = contexts(authority)
    if offered is not None:
        client.set_alpn_protocols(offered)
    async with tcp_port(hello, ssl_context=server) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        tls = trio.SSLStream(stream, client, server_hostname="127.0.0.1", https_compatible=True)
        async with tls:
            with suppress(trio.BrokenResourceError):
                assert await tls.receive_some() == b""
        assert tls.selected_alpn_protocol() is None
    said = [record for record in caplog.records if "ALPN has not chosen h2" in record.getMessage()]
    assert [record.levelname for record in said] == ["INFO"]


@pytest.mark.parametrize(
    ("cipher", "adequate"),
    [
        ("ECDHE-ECDSA-AES128-SHA", False),
        ("ECDHE-ECDSA-AES128-SHA256", False),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
    ],
)
@pytest.mark.parametrize("side", ["server", "client"])
@bounded()
async def test_cipher_suites_of_tls_1_2(
    cipher: str, adequate: bool, side: str, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server, client = contexts(authority)
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{cipher}:@SECLEVEL=0")
        context.set_alpn_protocols(["h2"])
    if side == "server":
        async with tcp_port(hello, ssl_context=server) as port:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            tls = trio.SSLStream(stream, client, server_hostname="127.0.0.1", https_compatible=True)
            peer = RawPeer(tls)  # type: ignore[arg-type] # TLS has no half-close here
            await peer.send(PREFACE, encode_settings({}))
            if adequate:
                await peer.send(peer.head(1, GET, end=True))
                assert (await peer.expect("HEADERS")).status == b"200"
            else:
                goaway = await peer.expect("GOAWAY")
                assert goaway.code is http.ErrorCode.INADEQUATE_SECURITY
                assert b"TLS below 1.2, or a cipher suite" in parse_goaway(goaway.body)[2]
            await trio.aclose_forcefully(tls)
    else:
        async with (
            plain_tls_server(server) as port,
            http.connect(f"https://127.0.0.1:{port}", ssl_context=client) as asking,
        ):
            if not adequate:
                with pytest.raises(muxpy.SessionClosed, match="INADEQUATE_SECURITY"):
                    await asking.request("GET")
            else:
                await asking.open("GET", end=True)
    said = [record for record in caplog.records if "INADEQUATE_SECURITY" in record.getMessage()]
    assert (len(said) == 0) == adequate


@bounded()
async def test_a_certificate_that_nobody_trusts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with tcp_port(hello, ssl_context=server_context()) as port:
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            async with http.connect(f"https://127.0.0.1:{port}"):
                pass
        await wait_all_tasks_blocked(0.01)
    assert any("unknown ca" in record.getMessage().lower() for record in caplog.records)
    assert max(record.levelno for record in caplog.records) == logging.INFO


@bounded()
async def test_a_client_of_plain_http_at_a_tls_port() -> None:
    async with tcp_port(hello, ssl_context=server_context()) as port:
        with pytest.raises(muxpy.SessionClosed):
            async with http.connect(f"http://127.0.0.1:{port}") as client:
                await client.request("GET")


@bounded()
async def test_a_client_of_tls_at_a_plain_port() -> None:
    async with tcp_port(hello) as port:
        with pytest.raises(ssl.SSLError):
            async with http.connect(f"https://127.0.0.1:{port}", ssl_context=client_context()):
                pass


@bounded()
async def test_renegotiation_and_compression_are_off(authority: trustme.CA) -> None:
    server, client = contexts(authority)
    async with (
        tcp_port(hello, ssl_context=server) as port,
        http.connect(f"https://127.0.0.1:{port}", ssl_context=client) as asking,
    ):
        assert (await asking.request("GET")).status == 200
    for context in (server, client):
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION


@bounded()
async def test_one_connection_served_with_tls(authority: trustme.CA) -> None:
    server, client = contexts(authority)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener, trio.open_nursery() as nursery:

        async def serve() -> None:
            await http.serve_stream(hello, await listener.accept(), ssl_context=server)

        nursery.start_soon(serve)
        port = listener.socket.getsockname()[1]
        async with http.connect(f"https://localhost:{port}", ssl_context=client) as asking:
            assert asking.authority == f"localhost:{port}"
            assert await (await asking.request("GET")).read() == b"hello"


@bounded()
async def test_a_connection_that_is_there_already(authority: trustme.CA) -> None:
    """Through a proxy, for example: the certificate is checked for the host of the URL all the same."""
    server, client = contexts(authority)
    async with tcp_port(hello, ssl_context=server) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with http.connect("https://localhost", ssl_context=client, stream=stream) as asking:
            assert asking.authority == "localhost"
            assert (await asking.request("GET")).status == 200
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
            async with http.connect("https://example.org", ssl_context=client, stream=stream):
                pass

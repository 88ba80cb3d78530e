"""muxpy's client and Go's servers: golang.org/x/net by prior knowledge, net/http with TLS."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy import StreamReset, http
from tests.helpers.content import named
from tests.helpers.tasks import read_all

from .gopeer import PROGRAM, GoServer, go_serves
from .leaving import ask_for_hash, check_leaving, echo_afterwards
from .site import HOST, echoing, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .tls import Tls

pytestmark = pytest.mark.live_peer

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _built() -> None:
    PROGRAM.require()
    PROGRAM.build()


@asynccontextmanager
async def connected(tls: Tls | None, *options: str) -> AsyncIterator[tuple[http.Client, GoServer]]:
    async with (
        go_serves(tls, *options) as server,
        http.connect(server.url, ssl_context=None if tls is None else tls.client) as client,
    ):
        yield client, server


async def check_upload(client: http.Client, data: bytes) -> None:
    async with await client.request("POST", "/hash", body=data) as response:
        assert await response.read() == f"{len(data)} {sha256(data)}\n".encode()


async def check_download(client: http.Client, name: int, size: int) -> None:
    async with await client.request("GET", f"/bytes?name={name}&size={size}") as response:
        data = await response.read()
        assert len(data) == size
        assert response.trailers == http.Headers({"x-sha256": sha256(data)})


@pytest.mark.parametrize("options", [[], ["-streams", "5"]], ids=["together", "5_streams"])
async def test_many_uploads_and_downloads_at_the_same_time(options: list[str], tls: Tls | None) -> None:
    """Where the server allows fewer, the rest waits."""
    async with connected(tls, *options) as (client, _), trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(check_upload, client, named(number, 3000 * number))
            nursery.start_soon(check_download, client, number, 200_000 - 1500 * number)


async def test_megabytes(tls: Tls | None) -> None:
    async with connected(tls) as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(check_upload, client, named("up", 16 * MIB))
        nursery.start_soon(check_download, client, 1, 16 * MIB)


async def test_a_body_in_parts(tls: Tls | None) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(50):
            yield named(number, 10_000)
            await trio.lowlevel.checkpoint()

    data = b"".join(named(number, 10_000) for number in range(50))
    async with connected(tls) as (client, _), await client.request("POST", "/hash", body=parts()) as response:
        assert await response.read() == f"{len(data)} {sha256(data)}\n".encode()


async def test_conversations_on_many_streams(tls: Tls | None) -> None:
    async def converse(client: http.Client, number: int) -> None:
        sent = b""
        async with await client.open("POST", "/echo", {"trailer": "x-before"}) as response:
            await response.started()
            for turn in range(30):
                data = named((number, turn), 1 + 2000 * turn)
                back = b""
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(response.send_all, data)
                    while len(back) < len(data):
                        back += await response.receive_some()
                assert back == data
                sent += data
            await response.finish({"x-before": str(number)})
            assert await response.read() == b""
            assert response.trailers is not None
            assert dict(response.trailers) == {"x-before": str(number), "x-sha256": sha256(sent)}

    async with connected(tls) as (client, _), trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(converse, client, number)


async def test_trailers_of_a_request(tls: Tls | None) -> None:
    fields = {"trailer": "x-after"}
    async with connected(tls) as (client, _), await client.open("POST", "/hash", fields) as response:
        await response.send_all(b"abc")
        await response.finish({"x-after": "yes"})
        assert await response.read() == f"3 {sha256(b'abc')} X-After=yes\n".encode()


async def test_answers_that_nobody_wants_any_more(tls: Tls | None) -> None:
    async with connected(tls) as (client, _):
        for _ in range(50):
            async with await client.request("GET", "/hang") as response:
                assert await response.receive_some() == b"begun\n"
        async with await client.request("GET", "/cut?of=50") as response:
            assert await response.read() == b"cut\n"


async def test_an_answer_that_the_server_breaks_off(tls: Tls | None) -> None:
    async with connected(tls) as (client, _):
        async with await client.request("GET", "/abort") as response:
            with pytest.raises(StreamReset) as reset:
                await response.read()
            assert (reset.value.code, reset.value.retryable) == (http.ErrorCode.INTERNAL_ERROR, False)
        await check_upload(client, b"after")


async def test_an_answer_that_does_not_read_the_body(tls: Tls | None) -> None:
    async with connected(tls) as (client, _):
        for _ in range(3):
            async with await client.request("POST", "/refuse", body=bytes(8 * MIB)) as response:
                assert response.status == 413
                assert await response.read() == b"too much\n"
        await check_upload(client, b"after")


async def test_answers_without_a_body(tls: Tls | None) -> None:
    async with connected(tls) as (client, _):
        for method, path, status in (
            ("HEAD", "/hello", 200),
            ("GET", "/status?is=204", 204),
            ("GET", "/status?is=304", 304),
            ("HEAD", "/status?is=500", 500),
        ):
            async with await client.request(method, path) as response:
                assert response.status == status
                assert await response.read() == b""
        assert client.session.statistics().streams_open == 0


async def test_hints(certificate: Tls) -> None:
    """Debian's golang.org/x/net sends none, so without TLS there is nothing to test."""
    hinted: list[tuple[int, str]] = []

    def informed(status: int, headers: http.Headers) -> None:
        hinted.append((status, headers["link"]))

    async with connected(certificate) as (client, _):
        async with await client.request("GET", "/hints", informed=informed) as response:
            assert await response.read() == b"hinted\n"
        async with await client.request("GET", "/hints") as response:
            assert (response.status, await response.read()) == (200, b"hinted\n")
    assert hinted == [(103, "</app.css>; rel=preload"), (103, "</app.js>; rel=preload")]


async def test_push_is_not_wanted(tls: Tls | None) -> None:
    async with connected(tls) as (client, _), await client.request("GET", "/push") as response:
        assert await response.read() == b"feature not supported\n"


async def test_a_graceful_end_in_the_midst_of_traffic(tls: Tls | None) -> None:
    async with connected(tls) as (client, server):
        await check_leaving(client, ask_for_hash, echo_afterwards, server.stop)


async def test_tunnels(tls: Tls | None) -> None:
    async with connected(tls) as (client, _), echoing() as port, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(use_tunnel, client, port, named(number, 300_000))


async def use_tunnel(client: http.Client, port: int, data: bytes) -> None:
    """Through a socket that is joined to the tunnel, as behind a proxy."""

    async def send() -> None:
        await near.send_all(data)
        await near.send_eof()

    async with client.tunnel(f"{HOST}:{port}") as stream, socket_pair() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(stream.splice, far)
        nursery.start_soon(send)
        assert await read_all(near) == data


@asynccontextmanager
async def socket_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    near, far = map(trio.SocketStream, trio.socket.socketpair())
    async with near, far:
        yield near, far


async def test_a_tunnel_to_nowhere(tls: Tls | None) -> None:
    async with connected(tls) as (client, _):
        with pytest.raises(http.TunnelRefused, match="502"):
            async with client.tunnel(f"{HOST}:1"):
                raise AssertionError("it leads nowhere")


async def test_other_protocols_need_a_server_that_knows_of_them(tls: Tls | None) -> None:
    """Debian's Go does not take extended CONNECT."""
    async with connected(tls) as (client, _):
        with pytest.raises(NotImplementedError, match=re.escape("the server does not take extended CONNECT")):
            async with client.extended_connect("websocket", "/"):
                raise AssertionError("it was not allowed")

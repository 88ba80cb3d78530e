"""CONNECT, plain and extended: streams of bytes in both directions."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from muxpy.frame.http2 import Setting, encode_ping, encode_rst_stream, encode_settings
from tests.helpers.content import named
from tests.helpers.tasks import bounded, echo, read_all

from .ends import KINDS, raw_client, raw_server, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CONNECT = ((b":method", b"CONNECT"), (b":authority", b"db:5432"))
EXTENDED = (
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"http"),
    (b":authority", b"a"),
    (b":path", b"/chat"),
)
EXTENDED_CONFIG = http.Config(extended_connect=True)


@asynccontextmanager
async def target(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server of TCP; its port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def proxy(exchange: http.Exchange) -> None:
    """Connects to the target, and joins both."""
    assert exchange.request.method == "CONNECT"
    assert (exchange.request.path, exchange.request.scheme) == ("", "")
    host, _, port = exchange.request.authority.partition(":")
    try:
        upstream = await trio.open_tcp_stream(host, int(port))
    except OSError as error:
        await exchange.respond(502, {}, str(error).encode())
        return
    async with upstream:
        await exchange.start(200)
        await exchange.splice(upstream)


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_a_tunnel_to_a_socket(kind: str) -> None:
    data = named("data", 300_000)

    async def serve(stream: trio.SocketStream) -> None:
        await echo(stream)

    async with target(serve) as port, served(proxy, kind) as client:
        for _ in range(3):
            async with client.tunnel(f"127.0.0.1:{port}") as stream:
                assert stream.status == 200
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(stream.send_all, data, end=True))
                    assert await read_all(stream) == data
        await wait_all_tasks_blocked()
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_half_closed_by_the_client() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        received = await read_all(stream)
        await stream.send_all(b"got %d" % len(received))

    async with target(serve) as port, served(proxy) as client, client.tunnel(f"127.0.0.1:{port}") as stream:
        await stream.send_all(b"12345")
        await stream.send_eof()
        assert await read_all(stream) == b"got 5"


@bounded()
async def test_half_closed_by_the_target() -> None:
    got: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")
        await stream.send_eof()
        got.append(await read_all(stream))

    async with target(serve) as port, served(proxy) as client:
        async with client.tunnel(f"127.0.0.1:{port}") as stream:
            assert await read_all(stream) == b"hello"
            await stream.send_all(b"late")
            await stream.send_eof()
        with trio.fail_after(60):
            while not got:
                await trio.lowlevel.checkpoint()
    assert got == [b"late"]


@bounded()
async def test_a_target_that_resets_is_a_connect_error(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with target(serve) as port, served(proxy) as client, client.tunnel(f"127.0.0.1:{port}") as stream:
        await stream.send_all(b"x" * 10)
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(stream)
        assert caught.value.code is http.ErrorCode.CONNECT_ERROR
        assert caught.value.by_peer
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@bounded()
async def test_a_client_that_resets_closes_the_target(caplog: pytest.LogCaptureFixture) -> None:
    over = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await read_all(stream)
        over.set()

    async with target(serve) as port, served(proxy) as client:
        async with client.tunnel(f"127.0.0.1:{port}") as stream:
            await stream.send_all(b"x")
            stream.reset()
        await over.wait()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@bounded()
async def test_a_tunnel_spliced_at_both_ends() -> None:
    """As a local forward through a proxy: socket, tunnel, socket."""
    data = named("data", 200_000)
    near, far = trio.socket.socketpair()

    async def serve(stream: trio.SocketStream) -> None:
        await echo(stream)

    async with target(serve) as port, served(proxy) as client, trio.open_nursery() as nursery:

        async def forward() -> None:
            async with client.tunnel(f"127.0.0.1:{port}") as stream, trio.SocketStream(far) as accepted:
                await stream.splice(accepted)

        async def send() -> None:
            await local.send_all(data)
            await local.send_eof()

        async with trio.SocketStream(near) as local:
            nursery.start_soon(forward)
            nursery.start_soon(send)
            assert await read_all(local) == data


@bounded()
async def test_a_proxy_may_refuse() -> None:
    async def handler(exchange: http.Exchange) -> None:
        if exchange.request.authority == "large:1":
            await exchange.respond(403, {}, bytes(200_000))
        elif exchange.request.authority == "broken:1":
            await exchange.start(503)
            await exchange.send_all(b"some")
            exchange.reset()
        else:
            await exchange.respond(403, {"proxy-status": "x"}, b"not there")

    async with served(handler) as client:
        with pytest.raises(http.TunnelRefused, match="has answered 403 to CONNECT") as caught:
            async with client.tunnel("db:5432"):
                pytest.fail("it is no tunnel")
        assert isinstance(caught.value, OSError)
        assert caught.value.response.status == 403
        assert caught.value.response.headers["proxy-status"] == "x"
        assert caught.value.body == b"not there"
        with pytest.raises(http.TunnelRefused) as caught:
            async with client.tunnel("large:1"):
                pass
        assert caught.value.body == bytes(65536)
        with pytest.raises(http.TunnelRefused) as caught:
            async with client.tunnel("broken:1"):
                pass
        assert caught.value.response.status == 503
        await wait_all_tasks_blocked()
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_a_refusal_arrives_whole_whatever_its_server_thinks_of_the_request() -> None:
    """Go's server resets with NO_ERROR, right after the response, a request that has not ended."""
    async with raw_server({}) as (client, peer), trio.open_nursery() as nursery:

        async def refuse() -> None:
            await peer.expect("HEADERS", 1)
            head = peer.head(1, ((b":status", b"403"),))
            await peer.send(head, peer.data(1, b"not there", end=True), encode_rst_stream(1, 0))

        nursery.start_soon(refuse)
        with pytest.raises(http.TunnelRefused) as caught:
            async with client.tunnel("db:5432"):
                pass
        assert caught.value.body == b"not there"


@bounded()
async def test_a_target_that_is_not_there() -> None:
    async with served(proxy) as client:
        with pytest.raises(http.TunnelRefused, match="502"):
            async with client.tunnel("127.0.0.1:1"):
                pass


@pytest.mark.parametrize("authority", ["", "user@a:1", "a b:1"], ids=["empty", "user", "blank"])
@bounded()
async def test_targets_that_are_none(authority: str) -> None:
    async with served(proxy) as client:
        with pytest.raises(ValueError, match=":authority is no host and port"):
            async with client.tunnel(authority):
                pass


@bounded()
async def test_what_a_tunnel_says_on_the_wire() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        await exchange.send_all(await exchange.receive_some())

    async with raw_client(handler, config=http.Config(send_date=False)) as peer:
        await peer.send(peer.head(1, CONNECT), peer.data(1, b"abc"))
        head = await peer.expect("HEADERS", 1)
        assert head.fields == ((b":status", b"200"),)
        assert b"".join(frame.body for frame in await peer.until_end(1)) == b"abc"
        await peer.send(peer.data(1, b"nobody reads this"))
        assert (await peer.expect("RST_STREAM", 1)).code is http.ErrorCode.CANCEL


@bounded()
async def test_a_tunnel_has_no_length() -> None:
    async with raw_client(lambda exchange: exchange.respond(200, {}, b"abc")) as peer:
        await peer.send(peer.head(1, CONNECT))
        assert b"content-length" not in dict((await peer.expect("HEADERS", 1)).fields)


@bounded()
async def test_a_tunnel_has_no_trailers() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        with pytest.raises(muxpy.StreamReset):
            await exchange.receive_some()

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, CONNECT))
        await peer.expect("HEADERS", 1)
        await peer.send(peer.head(1, ((b"a", b"b"),), end=True))
        assert (await peer.expect("RST_STREAM", 1)).code is http.ErrorCode.PROTOCOL_ERROR


# ---- extended ----


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_extended_connect(kind: str) -> None:
    async def handler(exchange: http.Exchange) -> None:
        request = exchange.request
        assert (request.method, request.protocol, request.path) == ("CONNECT", "websocket", "/chat?a")
        assert request.headers["sec-websocket-version"] == "13"
        await exchange.start(200, {"sec-websocket-protocol": "b"})
        async for chunk in exchange:
            await exchange.send_all(chunk)

    async with served(handler, kind, config=EXTENDED_CONFIG) as client:
        async with client.extended_connect("websocket", "/chat?a", {"sec-websocket-version": "13"}) as stream:
            assert stream.headers["sec-websocket-protocol"] == "b"
            for _ in range(3):
                await stream.send_all(b"frame")
                assert await stream.receive_some() == b"frame"
            await stream.send_eof()
            assert await stream.receive_some() == b""
        with pytest.raises(ValueError, match=":protocol is no token"):
            async with client.extended_connect("web socket"):
                pass


@bounded()
async def test_a_server_that_does_not_take_it() -> None:
    async with served(proxy) as client:
        with pytest.raises(NotImplementedError, match="does not take extended CONNECT"):
            async with client.extended_connect("websocket"):
                pass


@bounded()
async def test_an_extended_one_may_be_refused() -> None:
    async with served(lambda exchange: exchange.respond(404, {}, b"no chat"), config=EXTENDED_CONFIG) as client:
        with pytest.raises(http.TunnelRefused, match="404") as caught:
            async with client.extended_connect("websocket"):
                pass
        assert caught.value.body == b"no chat"


@bounded()
async def test_the_server_says_whether_it_takes_it() -> None:
    for config in (http.Config(), EXTENDED_CONFIG):
        async with raw_client(lambda exchange: exchange.respond(200), config=config) as peer:
            await peer.send(peer.head(1, EXTENDED))
            frame = await peer.receive()
            assert frame is not None
            assert frame.name == ("HEADERS" if config.extended_connect else "RST_STREAM")


@bounded()
async def test_a_client_waits_for_the_settings() -> None:
    async with raw_server(None) as (client, peer), trio.open_nursery() as nursery:

        async def use() -> None:
            async with client.extended_connect("websocket"):
                pass

        nursery.start_soon(use)
        await wait_all_tasks_blocked()
        assert client.session.statistics().streams_open == 0
        peer.everything = True
        while (frame := await peer.receive()) is not None and frame.name != "PING":
            pass
        assert frame is not None
        await peer.send(encode_settings({Setting.ENABLE_CONNECT_PROTOCOL: 1}), encode_ping(frame.body, ack=True))
        peer.everything = False
        head = await peer.expect("HEADERS", 1)
        assert dict(head.fields)[b":protocol"] == b"websocket"
        await peer.send(peer.head(1, ((b":status", b"200"),)))

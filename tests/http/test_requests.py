"""Requests as a handler reads them: bodies, trailers, and what is announced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from tests.helpers.content import named
from tests.helpers.tasks import bounded, read_all

from .ends import GET, KINDS, POST, raw_client, raw_server, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXPECTING = (*POST, (b"expect", b"100-continue"))


@bounded()
async def test_what_a_request_is() -> None:
    async def handler(exchange: http.Exchange) -> None:
        request = exchange.request
        assert (request.method, request.scheme, request.authority) == ("PUT", "http", "example.org")
        assert request.path == "/a%20b?c=d"
        assert request.protocol == ""
        assert request.headers["x-a"] == "b"
        assert request.content_length == 3
        assert repr(request) == "<Request PUT /a%20b?c=d>"
        assert repr(exchange).startswith("<muxpy.http.Exchange 1 PUT of <")
        assert await exchange.receive_some() == b"abc"
        await exchange.respond(204)

    async with served(handler) as client:
        assert (await client.request("PUT", "/a%20b?c=d", {"X-A": "b"}, b"abc")).status == 204


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_large_bodies_and_trailers_both_ways(kind: str) -> None:
    data = named("data", 300_000)

    async def handler(exchange: http.Exchange) -> None:
        assert exchange.trailers is None
        await exchange.start(200)
        async for chunk in exchange:
            await exchange.send_all(chunk)
        assert exchange.trailers == {"x-sum": "1"}
        await exchange.finish({"x-sum": "2"})
        assert await exchange.receive_some() == b""

    async with served(handler, kind) as client:
        response = await client.open("POST")
        assert response.trailers is None
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                for start in range(0, len(data), 30_000):
                    await response.send_all(data[start : start + 30_000])
                await response.finish({"X-Sum": "1"})

            nursery.start_soon(upload)
            await response.started()
            assert await response.read() == data
        assert response.trailers == {"x-sum": "2"}
        assert await response.receive_some() == b""


@pytest.mark.parametrize("with_trailers", [False, True], ids=["data", "trailers"])
@bounded()
async def test_a_body_shorter_than_announced_is_never_a_clean_end(with_trailers: bool) -> None:
    outcome: list[muxpy.StreamReset] = []

    async def handler(exchange: http.Exchange) -> None:
        assert await exchange.receive_some() == b"ab"
        with pytest.raises(muxpy.StreamReset) as caught:
            await exchange.receive_some()
        outcome.append(caught.value)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, (*POST, (b"content-length", b"5"))), peer.data(1, b"ab"))
        await peer.settled()
        await wait_all_tasks_blocked()
        await peer.send(peer.head(1, ((b"a", b"b"),), end=True) if with_trailers else peer.data(1, b"", end=True))
        reset = await peer.expect("RST_STREAM", 1)
        assert reset.code is http.ErrorCode.PROTOCOL_ERROR
        await wait_all_tasks_blocked()
    (error,) = outcome
    assert error.code is http.ErrorCode.PROTOCOL_ERROR
    assert not error.by_peer
    assert "reset for an error of the peer with PROTOCOL_ERROR" in str(error)


@bounded()
async def test_a_longer_one_too() -> None:
    outcome: list[muxpy.StreamReset] = []

    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(exchange)
        outcome.append(caught.value)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, (*POST, (b"content-length", b"5"))), peer.data(1, b"abc"))
        await peer.settled()
        await peer.send(peer.data(1, b"def", end=True))
        assert (await peer.expect("RST_STREAM", 1)).code is http.ErrorCode.PROTOCOL_ERROR
        await wait_all_tasks_blocked()
    assert outcome[0].code is http.ErrorCode.PROTOCOL_ERROR


@bounded()
async def test_responses_that_are_shorter_or_longer_are_errors_to_the_client() -> None:
    async with raw_server({}) as (client, peer):
        for stream_id, body in ((1, b"ab"), (3, b"abcdef")):
            stream = await client.open("GET", end=True)
            await peer.expect("HEADERS", stream_id)
            head = peer.head(stream_id, ((b":status", b"200"), (b"content-length", b"5")))
            await peer.send(head, peer.data(stream_id, body, end=True))
            with pytest.raises(muxpy.StreamReset) as caught:
                await stream.read()
            assert caught.value.code is http.ErrorCode.PROTOCOL_ERROR
            assert (await peer.expect("RST_STREAM", stream_id)).code is http.ErrorCode.PROTOCOL_ERROR


# ---- 100 (Continue) ----


@pytest.mark.parametrize("way", ["receive_some", "async for"])
@bounded()
async def test_continue_is_sent_at_the_first_read(way: str) -> None:
    read = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        await read.wait()
        body = bytearray()
        if way == "receive_some":
            while part := await exchange.receive_some(2):
                body += part
        else:
            async for chunk in exchange:
                body += chunk
        await exchange.respond(200, {}, body)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, EXPECTING))
        await peer.settled()
        await wait_all_tasks_blocked()
        read.set()
        interim = await peer.expect("HEADERS", 1)
        assert interim.fields == ((b":status", b"100"),)
        await peer.send(peer.data(1, b"abc"))
        await peer.settled()
        await peer.send(peer.data(1, b"def", end=True))
        head, body = await peer.until_end(1)
        assert (head.status, body.body) == (b"200", b"abcdef")


@bounded()
async def test_never_after_a_final_head() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        await exchange.send_all(await read_all(exchange))

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, EXPECTING))
        assert (await peer.expect("HEADERS", 1)).status == b"200"
        await peer.send(peer.data(1, b"abc", end=True))
        assert [str(frame) for frame in await peer.until_end(1)][-1] == "DATA."


@bounded()
async def test_nor_when_it_is_spliced() -> None:
    """A splice begins after the head of the response, which says more than 100 would."""
    one, other = trio.socket.socketpair()

    async def handler(exchange: http.Exchange) -> None:
        with one:
            await exchange.start(200)
            await exchange.splice(trio.SocketStream(one))

    with other:
        async with raw_client(handler) as peer:
            await peer.send(peer.head(1, EXPECTING))
            assert (await peer.expect("HEADERS", 1)).status == b"200"
            await peer.send(peer.data(1, b"abc", end=True))
            assert await other.recv(10) == b"abc"
            assert await other.recv(10) == b""
            await other.send(b"def")
            other.shutdown(trio.socket.SHUT_WR)
            assert b"".join(frame.body for frame in await peer.until_end(1)) == b"def"


@pytest.mark.parametrize("body", [b"abc", b""], ids=["data", "empty"])
@bounded()
async def test_nor_when_the_body_has_come(body: bytes) -> None:
    read = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        await read.wait()
        await exchange.respond(200, {}, await read_all(exchange))

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, EXPECTING), peer.data(1, body, end=True))
        await peer.settled()
        read.set()
        assert (await peer.expect("HEADERS", 1)).status == b"200"


@bounded()
async def test_nor_to_those_that_do_not_wait_for_it() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, await read_all(exchange))

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, POST))
        await peer.settled()
        await peer.send(peer.data(1, b"abc", end=True))
        assert (await peer.expect("HEADERS", 1)).status == b"200"


@bounded()
async def test_a_handler_may_refuse_the_body_instead() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(417)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, EXPECTING))
        assert (await peer.expect("HEADERS", 1)).status == b"417"
        assert (await peer.expect("RST_STREAM", 1)).code is http.ErrorCode.NO_ERROR


@bounded()
async def test_a_client_that_waits_for_it() -> None:
    """With the ends of muxpy: the body is sent only when the handler wants it."""
    told = trio.Event()

    def informed(status: int, _: http.Headers) -> None:
        assert status == 100
        told.set()

    async def body() -> AsyncIterator[bytes]:
        await told.wait()
        yield b"abc"

    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, await read_all(exchange))

    async with served(handler) as client:
        response = await client.request("POST", "/", {"expect": "100-continue"}, body(), informed=informed)
        assert await response.read() == b"abc"


# ---- reading ----


@bounded()
async def test_a_request_that_the_client_takes_back() -> None:
    outcome: list[muxpy.StreamReset] = []

    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(exchange)
        outcome.append(caught.value)

    async with served(handler) as client:
        response = await client.open("POST")
        await response.send_all(b"a part")
        await wait_all_tasks_blocked()
        response.reset(http.ErrorCode.CANCEL)
        await wait_all_tasks_blocked()
    assert outcome[0].by_peer
    assert outcome[0].code is http.ErrorCode.CANCEL
    assert isinstance(outcome[0].code, http.ErrorCode)
    assert not outcome[0].retryable


@bounded()
async def test_an_unread_body_holds_up_nobody() -> None:
    """The connection's window is given back on arrival."""
    go_on = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        if exchange.request.path == "/unread":
            await exchange.start(200)
            await go_on.wait()
            await exchange.send_all(b"%d" % len(await read_all(exchange)), end=True)
        else:
            await exchange.respond(200, {}, b"%d" % len(await read_all(exchange)))

    async with served(handler) as client:
        unread = [await client.request("POST", "/unread", body=bytes(80_000)) for _ in range(8)]
        response = await client.request("POST", "/", body=bytes(500_000))
        assert await response.read() == b"500000"
        go_on.set()
        for each in unread:
            assert await each.read() == b"80000"


@bounded()
async def test_the_fields_of_a_request_that_are_too_many_are_431() -> None:
    async with raw_client(lambda exchange: exchange.respond(200)) as peer:
        await peer.send(peer.head(1, (*GET, *[(b"a", b"b")] * 300), end=True))
        assert (await peer.expect("HEADERS", 1)).status == b"431"
        await peer.send(peer.head(3, GET, end=True))
        assert (await peer.expect("HEADERS", 3)).status == b"200"

"""gRPC made by hand on muxpy, and grpcio at the other end."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy import http
from tests.cli.real._programs import run
from tests.helpers.content import named
from tests.helpers.processes import Output, started
from tests.helpers.tasks import LIMIT

from .site import HOST, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .tls import Tls

pytestmark = pytest.mark.live_peer

PEER = str(Path(__file__).with_name("grpc_peer.py"))
FIELDS = {"content-type": "application/grpc", "te": "trailers"}


def prefixed(message: bytes) -> bytes:
    """As gRPC sends a message: it is not compressed, and so long."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def next_message(response: http.Response, buffer: bytearray) -> bytes:
    """The next message; `buffer` keeps what comes behind it."""
    while len(buffer) < 5 or len(buffer) < 5 + int.from_bytes(buffer[1:5], "big"):
        chunk = await response.receive_some()
        assert chunk, response.trailers
        buffer += chunk
    end = 5 + int.from_bytes(buffer[1:5], "big")
    message = bytes(buffer[5:end])
    del buffer[:end]
    return message


async def test_the_client_of_grpc(tls: Tls | None) -> None:
    async with serving(tls) as site:
        files = () if tls is None else (tls.authority,)
        done = await run(sys.executable, PEER, "ask", f"{HOST}:{site.port}", *files)
        assert json.loads(done.out) == {
            "unary": True,
            "streaming": True,
            "before": ["one"],
            "status": ["FAILED_PRECONDITION", "as you wish"],
            "answer": "with metadata",
            "trailers": {"x-served": "by muxpy"},
        }
        assert site.asked[0].headers["te"] == "trailers"
        assert [request.headers["x-told"] for request in site.asked if "x-told" in request.headers] == ["yes"]
        assert len(site.sessions) == 1


@asynccontextmanager
async def connected(tls: Tls | None) -> AsyncIterator[http.Client]:
    """A client of a server of gRPC that runs as long as the block."""
    files = () if tls is None else (tls.chain, tls.key)
    with trio.fail_after(LIMIT):
        async with started([sys.executable, PEER, "serve", *files]) as process, trio.open_nursery() as nursery:
            output = Output(process.stdout)
            nursery.start_soon(output.read)
            port = (await output.said("listening at")).split()[-1]
            context = None if tls is None else tls.client
            url = f"{'http' if tls is None else 'https'}://{HOST}:{port}"
            async with http.connect(url, ssl_context=context) as client:
                yield client
            nursery.cancel_scope.cancel()


async def test_single_calls_to_a_server_of_grpc(tls: Tls | None) -> None:
    async def call(number: int) -> None:
        message = named(number, 5000 * number)
        async with await client.request("POST", "/Echo/Unary", FIELDS, prefixed(message)) as response:
            assert await response.read() == prefixed(message)
            assert response.trailers is not None
            assert (response.trailers["grpc-status"], response.trailers["x-size"]) == ("0", str(len(message)))

    async with connected(tls) as client, trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(call, number)


async def test_a_method_that_a_server_of_grpc_does_not_have(tls: Tls | None) -> None:
    """The answer is a head alone."""
    call = "/Echo/Nothing", FIELDS, prefixed(b"")
    async with connected(tls) as client, await client.request("POST", *call) as response:
        assert (response.status, response.headers["grpc-status"]) == (200, "12")
        assert await response.read() == b""
        assert response.trailers is None


async def test_conversations_with_a_server_of_grpc(tls: Tls | None) -> None:
    async def converse(number: int) -> None:
        buffer = bytearray()
        async with await client.open("POST", "/Echo/Streaming", FIELDS) as response:
            for turn in range(20):
                message = named((number, turn), turn * 1000)
                await response.send_all(prefixed(message))
                assert await next_message(response, buffer) == message
            if number % 2:
                await response.send_eof()
            else:
                await response.send_all(prefixed(b"fail"))
            assert await response.read() == b""
            assert response.trailers is not None
            said = (response.trailers["grpc-status"], response.trailers.get("grpc-message"))
            assert said == (("0", "") if number % 2 else ("9", "as you wish"))

    async with connected(tls) as client, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(converse, number)

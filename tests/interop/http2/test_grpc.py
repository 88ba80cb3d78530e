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
from tests.cli.real._programs import require, run
from tests.helpers.content import named
from tests.helpers.processes import Output, started
from tests.helpers.tasks import LIMIT

from .grpc_messages import Messages, prefixed
from .nginx import nginx_before
from .site import HOST, Site, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .tls import Tls

pytestmark = pytest.mark.live_peer

PEER = str(Path(__file__).with_name("grpc_peer.py"))
FIELDS = {"content-type": "application/grpc", "te": "trailers"}


# ---- gRPC's client ----


async def check_calls(port: int, tls: Tls | None, site: Site) -> None:
    """Single calls at the same time, streams of messages each way and both ways, and what comes in trailers."""
    files = () if tls is None else (tls.authority,)
    done = await run(sys.executable, PEER, "ask", f"{HOST}:{port}", *files)
    assert json.loads(done.out) == {
        "unary": True,
        "streaming": True,
        "uploads": True,
        "downloads": True,
        "before": ["one"],
        "status": ["FAILED_PRECONDITION", "as you wish"],
        "answer": "with metadata",
        "trailers": {"x-served": "by muxpy"},
    }
    assert site.asked[0].headers["te"] == "trailers"
    assert [request.headers["x-told"] for request in site.asked if "x-told" in request.headers] == ["yes"]


async def test_the_client_of_grpc(tls: Tls | None) -> None:
    async with serving(tls) as site:
        await check_calls(site.port, tls, site)
        assert len(site.sessions) == 1


async def test_the_client_of_grpc_through_nginx(tls: Tls | None, behind: Tls | None, tmp_path: Path) -> None:
    require("nginx", "nginx")
    async with serving(behind) as site:
        with nginx_before(site, tmp_path, tls, behind) as port:
            await check_calls(port, tls, site)


# ---- gRPC's server ----


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
        async with await client.open("POST", "/Echo/Streaming", FIELDS) as response:
            back = Messages(response)
            for turn in range(20):
                message = named((number, turn), turn * 1000)
                await response.send_all(prefixed(message))
                assert await anext(back) == message
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

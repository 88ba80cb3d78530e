"""gRPC made by hand on muxpy, and grpcio at the other end."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxpy import http
from tests.cli.real._programs import require, run
from tests.helpers.content import named
from tests.helpers.processes import Output, started
from tests.helpers.tasks import LIMIT

from .grpc_messages import Messages, prefixed
from .leaving import check_leaving
from .nginx import nginx_before
from .site import HOST, Site, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .tls import Tls

pytestmark = pytest.mark.live_peer

PEER = str(Path(__file__).with_name("grpc_peer.py"))
FIELDS = {"content-type": "application/grpc", "te": "trailers"}


# ---- gRPC's client ----


async def grpc_asks(what: str, port: int, tls: Tls | None) -> Any:  # noqa: ANN401 - JSON
    files = () if tls is None else (tls.authority,)
    done = await run(sys.executable, PEER, what, f"{HOST}:{port}", *files)
    return json.loads(done.out)


async def check_calls(port: int, tls: Tls | None, site: Site) -> None:
    """Single calls at the same time, streams of messages each way and both ways, and what comes in trailers."""
    assert await grpc_asks("ask", port, tls) == {
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


async def test_a_graceful_end_while_grpc_asks_on(tls: Tls | None) -> None:
    """What the server has taken is answered; the other calls find nobody who takes them."""
    async with serving(tls) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.stop_when_asked_for, 224)
        said = await grpc_asks("ask_on", site.port, tls)
        assert said == {"begun": True, "ended": True, "answered": len(site.asked) - 24}
        assert len(site.asked) >= 224


# ---- gRPC's server ----


@asynccontextmanager
async def served(tls: Tls | None) -> AsyncIterator[tuple[http.Client, Callable[[], Awaitable[None]]]]:
    """A client of a server of gRPC that runs as long as the block, and how to have the server go away."""
    files = () if tls is None else (tls.chain, tls.key)
    command = [sys.executable, PEER, "serve", *files]
    with trio.fail_after(LIMIT):
        async with started(command, stdin=subprocess.PIPE) as process, trio.open_nursery() as nursery:
            assert process.stdin is not None
            output = Output(process.stdout)
            nursery.start_soon(output.read)
            port = (await output.said("listening at")).split()[-1]
            context = None if tls is None else tls.client
            url = f"{'http' if tls is None else 'https'}://{HOST}:{port}"
            async with http.connect(url, ssl_context=context) as client:
                yield client, partial(process.stdin.send_all, b"leave\n")
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(tls: Tls | None) -> AsyncIterator[http.Client]:
    async with served(tls) as (client, _):
        yield client


async def call(client: http.Client, number: int) -> bool:
    """False if the server says that it is going away (CANCELLED, in a head alone)."""
    message = named(number, 5000 * number)
    async with await client.request("POST", "/Echo/Unary", FIELDS, prefixed(message)) as response:
        if response.headers.get("grpc-status") == "1":
            return False
        assert await response.read() == prefixed(message)
        assert response.trailers is not None
        assert (response.trailers["grpc-status"], response.trailers["x-size"]) == ("0", str(len(message)))
    return True


async def test_single_calls_to_a_server_of_grpc(tls: Tls | None) -> None:
    async def check(number: int) -> None:
        assert await call(client, number)

    async with connected(tls) as client, trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(check, number)


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


async def converse_afterwards(client: http.Client, number: int, *, task_status: trio.TaskStatus[None]) -> None:
    """A conversation that goes on when the server goes away."""
    async with await client.open("POST", "/Echo/Streaming", FIELDS) as response:
        back = Messages(response)
        await response.send_all(prefixed(b"begun"))
        assert await anext(back) == b"begun"
        task_status.started()
        await client.session.wait_going_away()
        for turn in range(20):
            message = named((number, turn), turn * 1000)
            await response.send_all(prefixed(message))
            assert await anext(back) == message
        await response.send_eof()
        assert await response.read() == b""
        assert response.trailers is not None
        assert response.trailers["grpc-status"] == "0"


async def test_a_server_of_grpc_goes_away(tls: Tls | None) -> None:
    async with served(tls) as (client, leave):
        await check_leaving(client, call, converse_afterwards, leave)

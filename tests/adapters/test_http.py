"""HTTP and what stands on it, with clients that know nothing of sessions."""

from __future__ import annotations

import asyncio
import socket
import xmlrpc.client
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import aiohttp
import aiohttp.web
import mcp
import mcp.server
import pytest
import requests
import trio
import uvicorn

from tests.helpers.tasks import bounded

from .ends import DIGEST, IMAGE, digest, forwarded, in_asyncio, in_thread
from .page import run, shows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from socketserver import TCPServer

pytestmark = pytest.mark.no_cover


class Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - as http.server has it
        pass


@contextmanager
def serving(server: TCPServer) -> Iterator[int]:
    with server, in_thread(partial(server.serve_forever, poll_interval=0.01), server.shutdown):
        yield int(server.socket.getsockname()[1])


@shows("requests")
@bounded()
async def test_requests() -> None:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Echo)) as port:
        async with forwarded(port) as session:
            names = await run("requests", session=session, trio=trio, requests=requests, image=IMAGE)
            assert names["response"].content == IMAGE


class Quiet(SimpleXMLRPCRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - as http.server has it
        pass


@shows("xmlrpc.client")
@bounded()
async def test_xmlrpc() -> None:
    server = SimpleXMLRPCServer(("127.0.0.1", 0), Quiet)
    server.register_function(lambda image: digest(image.data), "digest")
    with serving(server) as port:
        async with forwarded(port) as session:
            names = await run("xmlrpc.client", session=session, trio=trio, xmlrpc=xmlrpc, image=IMAGE)
            assert names["answer"] == DIGEST


@asynccontextmanager
async def aiohttp_server(path: Path) -> AsyncIterator[None]:
    async def echo(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(body=await request.read())

    app = aiohttp.web.Application()
    app.router.add_post("/firmware", echo)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.UnixSite(runner, str(path)).start()
    yield
    await runner.cleanup()


@shows("aiohttp")
@bounded()
async def test_aiohttp(tmp_path: Path) -> None:
    there, here = tmp_path / "there", str(tmp_path / "here")
    names: dict[str, Any] = {"trio": trio, "asyncio": asyncio, "aiohttp": aiohttp, "path": here, "image": IMAGE}
    async with in_asyncio(partial(aiohttp_server, there)), forwarded(there) as session:
        assert (await run("aiohttp", session=session, **names))["answer"] == IMAGE


@asynccontextmanager
async def mcp_server(listener: socket.socket) -> AsyncIterator[None]:
    device = mcp.server.MCPServer("device")

    @device.tool()
    def add(one: int, two: int) -> int:
        return one + two

    config = uvicorn.Config(device.streamable_http_app(), log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    yield
    server.should_exit = True
    await serving


@shows("MCP")
@bounded()
async def test_mcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with (
            in_asyncio(partial(mcp_server, listener)),
            forwarded(listener.getsockname()[1]) as session,
        ):
            names = await run("MCP", session=session, mcp=mcp)
            assert names["answer"].structured_content == {"result": 5}

"""Servers of HTTP/2: muxpy's own, nghttpd, and those of Python that speak ASGI. Go's is in `gopeers`.

All listen without TLS (h2c by prior knowledge), run in one process or with one worker, and write no access log. Each
reports its `server`, the process whose time is measured, with that of the processes it has started.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.tools import absent_tools, find_tool
from muxpy import http

from ._base import HOST, Client, Contender, Ports, report
from ._http_app import BULK, SMALL
from ._programs import free_port, keep_running, until_listening
from .plain import Tcp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["ALONE", "CLIENTS", "HTTP_SERVERS", "HttpServer"]

APP: Final = "benchmarks.contenders._http_app:app"


class HttpServer(Contender):
    """A server that is a program of its own."""

    def missing(self) -> str | None:
        return absent_tools(("h2load",), "nghttp2-client")

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        port = free_port()
        with TemporaryDirectory(prefix="muxpy-bench-http-") as name:
            async with trio.open_nursery() as nursery:
                running = await nursery.start(keep_running, self.command(port, Path(name)))
                await until_listening(port)
                task_status.started({"port": port, "server": running.pid})

    def command(self, port: int, folder: Path) -> Sequence[str]:
        """The command that serves at `port`; the folder is for its files."""
        raise NotImplementedError

    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        return Tcp().connect(port)


class MuxpyHttp(HttpServer):
    """`muxpy.http.serve` with a handler of its own."""

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(http.serve, _handle, 0, host=HOST))
            task_status.started({**report(listeners), "server": os.getpid()})


async def _handle(exchange: http.Exchange) -> None:
    request = exchange.request
    if request.method == "POST":
        async for _ in exchange:
            pass
    await exchange.respond(200, {"content-type": "text/plain"}, BULK if request.path == "/bulk" else SMALL)


class Nghttpd(HttpServer):
    """nghttp2's server, which is C++. `client`: the module of a client that is measured against it."""

    def __init__(self, client: str | None = None) -> None:
        self._client = client

    def missing(self) -> str | None:
        absent = absent_tools(("h2load", "nghttpd"), "nghttp2-client nghttp2-server")
        return absent or _absent_modules(self._client, "h2")

    def command(self, port: int, folder: Path) -> Sequence[str]:
        (folder / "index.html").write_bytes(SMALL)
        (folder / "bulk").write_bytes(BULK)
        # As many requests together as a client asks for; the other servers take 100 and more.
        return (find_tool("nghttpd") or "nghttpd", "--no-tls", "-a", HOST, "-m", "250", "-d", str(folder), str(port))


class AsgiServer(HttpServer):
    """A server that is a module of Python, and runs the ASGI application."""

    def __init__(self, modules: Sequence[str], *arguments: str) -> None:
        self._modules = modules
        self._arguments = arguments

    def missing(self) -> str | None:
        return super().missing() or _absent_modules(*self._modules)

    def command(self, port: int, folder: Path) -> Sequence[str]:
        told = (argument.format(host=HOST, port=port, folder=folder) for argument in self._arguments)
        return (sys.executable, "-m", self._modules[0], *told, APP)


class Hypercorn(AsgiServer):
    """Its limit of requests on one connection can be set in a file only."""

    def __init__(self, worker: str, *modules: str) -> None:
        super().__init__(("hypercorn", "h2", *modules), "-k", worker, "-b", "{host}:{port}", "-c", "{folder}/config")

    def command(self, port: int, folder: Path) -> Sequence[str]:
        (folder / "config").write_text("keep_alive_max_requests = 1000000000\n")
        return super().command(port, folder)


class Alone(Contender):
    """No server: what is measured is a part that needs no network, of this `module` if it is not muxpy's."""

    def __init__(self, module: str | None = None) -> None:
        self._module = module

    def missing(self) -> str | None:
        return _absent_modules(self._module)

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        task_status.started({"port": 0})
        await trio.sleep_forever()

    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        return Tcp().connect(port)


def _absent_modules(*names: str | None) -> str | None:
    absent = [name for name in names if name is not None and importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not found (pip install {' '.join(absent)})" if absent else None


HTTP_SERVERS: Final[dict[str, HttpServer]] = {
    "muxpy-http": MuxpyHttp(),
    "nghttpd": Nghttpd(),
    "granian": AsgiServer(
        ("granian",), "--interface", "asgi", "--http", "2", "--host", "{host}", "--port", "{port}", "--no-ws"
    ),
    "h2corn": AsgiServer(("h2corn",), "--host", "{host}", "--port", "{port}"),
    "uvicorn": AsgiServer(
        ("uvicorn", "zttp", "uvloop"),
        *("--http", "zttp", "--http2", "--loop", "uvloop", "--ws", "none", "--no-access-log"),
        *("--log-level", "warning", "--host", "{host}", "--port", "{port}"),
    ),
    "hypercorn": Hypercorn("asyncio"),
    "hypercorn-trio": Hypercorn("trio"),
}

CLIENTS: Final[dict[str, HttpServer]] = {"nghttpd-muxpy": Nghttpd(), "nghttpd-httpx": Nghttpd("httpx")}
"""Where clients are measured: the server is the fastest one, and takes no part in it."""

ALONE: Final[dict[str, Alone]] = {"alone": Alone(), "alone-h2": Alone("h2"), "alone-hpack": Alone("hpack")}

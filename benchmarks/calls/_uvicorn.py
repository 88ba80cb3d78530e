"""HTTP/1.1: aiohttp's client to uvicorn, with bodies of plain bytes, and a kept connection for each caller."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import uvicorn
import uvloop

from ._base import HOST, MESSAGE, announce, callers_of, with_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ._base import Figures, Job

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]


async def _app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    if scope["path"] == "/echo":
        await send(_head((b"content-length", b"%d" % len(body))))
        await send({"type": "http.response.body", "body": body})
    else:
        await send(_head())
        for _ in range(int(body)):
            await send({"type": "http.response.body", "body": MESSAGE, "more_body": True})
        await send({"type": "http.response.body"})


def _head(*more: tuple[bytes, bytes]) -> dict[str, Any]:
    headers = [(b"content-type", b"application/octet-stream"), *more]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def serve() -> None:
    listener = socket.create_server((HOST, 0), backlog=1024)
    config = uvicorn.Config(
        _app, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning"
    )
    announce(listener.getsockname()[1])
    uvicorn.Server(config).run([listener])


def run(port: int, job: Job) -> Figures:
    return uvloop.run(_run(port, job))


async def _run(port: int, job: Job) -> Figures:
    connector = aiohttp.TCPConnector(limit=callers_of(job))
    async with aiohttp.ClientSession(f"http://{HOST}:{port}", connector=connector) as session:

        async def echo(data: bytes) -> bytes:
            async with session.post("/echo", data=data) as response:
                return await response.read()

        async def subscribe(count: int) -> AsyncIterator[bytes]:
            size, rest = len(MESSAGE), b""
            async with session.post("/subscribe", data=b"%d" % count) as response:
                async for data in response.content.iter_any():
                    rest += data
                    whole = len(rest) - len(rest) % size
                    for begin in range(0, whole, size):
                        yield rest[begin : begin + size]
                    rest = rest[whole:]

        return await with_asyncio(job, echo, subscribe)

"""A small web server over HTTP/2: a page, uploads that are counted, and server-sent events.

    python examples/http_server.py serve [PORT]     in one terminal
    python examples/http_server.py client [PORT]    in another; or curl --http2-prior-knowledge, nghttp, any client
    python examples/http_server.py                  both in one process, on a free port

Browsers speak HTTP/2 over TLS only: give `http.serve` an `ssl_context` for them. Ctrl-C stops the server gracefully:
requests that have begun are answered, for at most PATIENCE seconds; a second Ctrl-C ends it immediately.
"""

from __future__ import annotations

import signal
import sys
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

import muxpy
from muxpy import http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

HOST, PORT = "127.0.0.1", 4080
PATIENCE = 30
PAGE = b"""<!doctype html>
<title>muxpy</title>
<p id="news"></p>
<script>new EventSource("/events").onmessage = event => news.textContent = event.data</script>
"""
METHODS = {"/": ("GET", "HEAD"), "/upload": ("POST", "PUT"), "/events": ("GET",)}


class Site:
    """The pages, and how much was uploaded."""

    def __init__(self) -> None:
        self.uploads = 0
        self.size = 0
        self.stop = trio.Event()
        self._news = trio.Event()

    async def answer(self, exchange: http.Exchange) -> None:
        """One request. Each runs in a task of its own."""
        request = exchange.request
        path = request.path.partition("?")[0]
        allowed = METHODS.get(path)
        if allowed is None:
            await exchange.respond(404, {"content-type": "text/plain"}, b"no such page\n")
        elif request.method not in allowed:
            await exchange.respond(405, {"allow": ", ".join(allowed)})
        elif path == "/":
            await exchange.respond(200, {"content-type": "text/html"}, PAGE)
        elif path == "/upload":
            await self._upload(exchange)
        else:
            await self._events(exchange)

    async def _upload(self, exchange: http.Exchange) -> None:
        """Count the body as it comes: it may be larger than memory."""
        size = 0
        async for chunk in exchange:
            size += len(chunk)
        self.uploads += 1
        self.size += size
        self.tell()
        await exchange.respond(200, {"content-type": "text/plain"}, b"%d bytes\n" % size)

    async def _events(self, exchange: http.Exchange) -> None:
        """What has come so far, and again after each upload, until the client leaves or the server stops."""
        await exchange.start(200, {"content-type": "text/event-stream", "cache-control": "no-store"})
        while not self.stop.is_set():
            news = self._news
            await exchange.send_all(b"data: %d uploads, %d bytes\n\n" % (self.uploads, self.size))
            await news.wait()  # whatever happened while a slow client took the last event becomes one event
        await exchange.finish()

    def tell(self) -> None:
        """Wake all who wait for news."""
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def server(port: int) -> AsyncIterator[tuple[Site, int]]:
    """Serve while the block runs, then let what has begun finish. The values are the site and the port, which the
    system picks if `port` is 0."""
    site = Site()
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(http.serve, site.answer, port, host=HOST, stop=site.stop))
        yield site, listener.socket.getsockname()[1]
        site.stop.set()
        site.tell()
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE


async def serve(port: int) -> None:
    """Until Ctrl-C or SIGTERM comes."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            async with server(port):
                print(f"server: listening on {HOST}:{port}; stop with Ctrl-C")
                await anext(signals)
                print("server: stopping")
                nursery.start_soon(_end_at_second_signal, signals, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
    print("stopped")


async def _end_at_second_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def client(port: int) -> None:
    """Upload while listening to the events: all over one connection."""
    async with http.connect(f"http://{HOST}:{port}") as client:
        page = await client.request("GET", "/")
        print(f"client: / is {page.status}, {page.headers['content-type']}, {len(await page.read())} bytes")
        async with await client.request("GET", "/events") as response, aclosing(_events_of(response)) as events:
            print("client: event:", await anext(events))
            for size in (5, 1_000_000):
                answer = await client.request("POST", "/upload", body=bytes(size))
                print("client: uploaded", (await answer.read()).decode().strip())
                print("client: event:", await anext(events))


async def _events_of(response: http.Response) -> AsyncGenerator[str]:
    """The data of each event: chunks may have a part of one, or several."""
    rest = b""
    async for chunk in response:
        *whole, rest = (rest + chunk).split(b"\n\n")
        for event in whole:
            yield event.removeprefix(b"data: ").decode()


async def demo() -> None:
    """Server and client in one process."""
    async with server(0) as (_, port):
        await client(port)


def port_from(text: str) -> int:
    """A port from the command line."""
    if not (text.isdecimal() and 0 < int(text) < 65536):
        sys.exit(f"{text} is no port: that is a number from 1 to 65535")
    return int(text)


def one_line(error: BaseException) -> str:
    """The first error in the nurseries' exception groups, as text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio.BrokenResourceError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot listen: {error.strerror}; another PORT may be free"
    return f"{error}: run it with `serve` first"


async def main(args: list[str]) -> None:
    """Do what the command line says."""
    port = port_from(args[1]) if len(args) > 1 else PORT
    match args[:1]:
        case ["serve"]:
            await serve(port)
        case ["client"]:
            await client(port)
        case []:
            await demo()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    problem = None
    try:
        trio.run(main, sys.argv[1:])
    except* KeyboardInterrupt:  # in a nursery's exception group, or bare
        print("stopped")
    except* (OSError, muxpy.StreamReset, muxpy.SessionClosed) as errors:  # nothing listens there, or something else
        problem = one_line(errors)
    sys.exit(problem)

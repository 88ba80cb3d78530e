"""What muxpy serves to the clients of others: a page for each thing that they try."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import trio

from muxpy import http
from tests.helpers.content import named
from tests.helpers.tasks import LIMIT, echo

from .grpc_messages import Messages, prefixed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .tls import Tls

__all__ = ["HOST", "Site", "echoing", "serving", "sha256"]

HOST: Final = "127.0.0.1"
GRPC: Final = {"content-type": "application/grpc"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Site:
    """A server under way, and what it has seen."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.port = 0
        self.stop = trio.Event()
        self.asked: list[http.Request] = []
        """All requests, in the order in which they came."""
        self._news = trio.lowlevel.ParkingLot()
        self.sessions: set[int] = set()
        """One for each connection."""
        self.cut: dict[str, object] = {}
        """How what /hang has begun was cut short, by its query."""
        self.all_cut = trio.Event()
        """As many as /hang?of=N says were cut short."""
        self.promised = trio.Event()
        """/push has made all its promises."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    async def asked_for(self, count: int) -> None:
        """Wait for so many requests."""
        while len(self.asked) < count:
            await self._news.park()

    async def stop_when_asked_for(self, count: int) -> None:
        """Go away gracefully after so many requests."""
        await self.asked_for(count)
        self.stop.set()

    async def answer(self, exchange: http.Exchange) -> None:
        request = exchange.request
        self.asked.append(request)
        self._news.unpark_all()
        self.sessions.add(id(exchange.session))
        if request.method == "CONNECT" and not request.protocol:
            await _tunnel(exchange)
            return
        path, _, query = request.path.partition("?")
        fields = dict(parse_qsl(query))
        page: Callable[[http.Exchange, dict[str, str]], Awaitable[None]] | None = getattr(self, f"_{path[1:]}", None)
        if page is None:
            await exchange.respond(404, {}, b"no such page\n")
        else:
            await page(exchange, fields)

    async def _hello(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        await exchange.respond(200, {"content-type": "text/plain"}, b"hello\n")

    async def _status(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        await exchange.respond(int(query["is"]), {"x-told": "yes"})

    async def _bytes(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """`size` bytes named `name`, with their hash as a trailer if `trailers` is there."""
        data = named(query["name"], int(query["size"]))
        trailers = {"x-sha256": sha256(data)} if "trailers" in query else {}
        await exchange.respond(200, {}, data, trailers=trailers)

    async def _hash(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """Size and hash of the body, and what its trailers are."""
        digest, size = hashlib.sha256(), 0
        async for chunk in exchange:
            digest.update(chunk)
            size += len(chunk)
        said = "".join(f" {name}={value}" for name, value in (exchange.trailers or {}).items())
        await exchange.respond(200, {}, f"{size} {digest.hexdigest()}{said}\n".encode())

    async def _echo(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """The body as it comes, and then its hash and its trailers as trailers."""
        digest = hashlib.sha256()
        await exchange.start(200, {"trailer": "x-sha256"})
        async for chunk in exchange:
            digest.update(chunk)
            await exchange.send_all(chunk)
        await exchange.finish({**(exchange.trailers or {}), "x-sha256": digest.hexdigest()})

    async def _refuse(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """An answer that does not wait for the body, and reads nothing of it."""
        await exchange.respond(413, {}, b"too much\n")

    async def _hints(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        await exchange.inform(103, {"link": "</app.css>; rel=preload"})
        await exchange.inform(103, {"link": "</app.js>; rel=preload"})
        await exchange.respond(200, {}, b"hinted\n")

    async def _push(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """A page with three others, which are pushed. None ends before all are promised: a client's limit counts those
        that are open."""
        pushed = [await exchange.push(f"/pushed?name={name}&size=20000") for name in "abc"]
        self.promised.set()
        await exchange.respond(200, {}, f"pushed {sum(pushed)}\n".encode())

    async def _pushed(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        await self.promised.wait()
        await self._bytes(exchange, query)

    async def _hang(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """Begin an answer and never end it."""
        await exchange.start(200)
        await exchange.send_all(b"begun\n")
        self.cut[query["name"]] = await exchange.wait_ended()
        if len(self.cut) == int(query.get("of", 1)):
            self.all_cut.set()

    async def _slow(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """An answer in parts that needs the loop for a while, so that others come meanwhile."""
        data = named(query["name"], 60_000)
        await exchange.start(200, {"content-length": str(len(data))})
        for begin in range(0, len(data), 1000):
            await exchange.send_all(data[begin : begin + 1000])
            await trio.sleep(0.001)
        await exchange.send_eof()

    async def _chat(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """What extended CONNECT leads to."""
        await exchange.start(200)
        await echo(exchange)

    # ---- gRPC without gRPC ----

    async def _unary(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """The message of the request as the answer."""
        body = b"".join([chunk async for chunk in exchange])
        await exchange.start(200, GRPC)
        await exchange.send_all(body)
        await exchange.finish({"grpc-status": "0", "x-served": "by muxpy"})

    async def _streaming(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """The same for each message as it comes; one that says `fail` is answered by a status."""
        await exchange.start(200, GRPC)
        async for message in Messages(exchange):
            if message == b"fail":
                await exchange.finish({"grpc-status": "9", "grpc-message": "as you wish"})
                return
            await exchange.send_all(prefixed(message))
        await exchange.finish({"grpc-status": "0"})

    async def _upload(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """The hash of all messages."""
        digest = hashlib.sha256()
        async for message in Messages(exchange):
            digest.update(message)
        await exchange.start(200, GRPC)
        await exchange.send_all(prefixed(digest.hexdigest().encode()))
        await exchange.finish({"grpc-status": "0"})

    async def _download(self, exchange: http.Exchange, query: dict[str, str]) -> None:
        """As many messages as the one of the request says, each longer than the one before, and then their hash."""
        [asked] = [int(message) async for message in Messages(exchange)]
        digest = hashlib.sha256()
        await exchange.start(200, GRPC)
        for number in range(asked):
            digest.update(message := named((asked, number), 10_000 * number))
            await exchange.send_all(prefixed(message))
        await exchange.finish({"grpc-status": "0", "x-sha256": digest.hexdigest()})


async def _tunnel(exchange: http.Exchange) -> None:
    host, _, port = exchange.request.authority.rpartition(":")
    try:
        socket = await trio.open_tcp_stream(host, int(port))
    except OSError:
        await exchange.respond(502)
        return
    async with socket:
        await exchange.start(200)
        await exchange.splice(socket)


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """The port of a plain TCP server that sends everything back."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HOST))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(tls: Tls | None = None, config: http.Config | None = None) -> AsyncIterator[Site]:
    """Serve as long as the block, with TLS if there is a certificate."""
    site = Site("http" if tls is None else "https")
    context = None if tls is None else tls.server
    serve = partial(http.serve, site.answer, 0, host=HOST, ssl_context=context, config=config, stop=site.stop)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(serve)
            site.port = listener.socket.getsockname()[1]
            yield site
            nursery.cancel_scope.cancel()

"""muxpy's ends: a server and a client that do what is planned, and say what they saw."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxpy import StreamReset, http
from tests.interop.http2.site import HOST

from .plan import NARROW, content, shown_content
from .views import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.interop.http2.tls import Tls

    from .plan import Exchange, Field, Plan

__all__ = ["Server", "ask", "serving"]


def listed(headers: http.Headers | None) -> tuple[Field, ...]:
    raw = () if headers is None else headers.raw
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


def ending(error: BaseException | None) -> str:
    if error is None:
        return "clean"
    if isinstance(error, StreamReset):
        return f"reset {getattr(error.code, 'name', error.code)}"
    return repr(error)


async def read(stream: http.Exchange | http.Response, view: View, progress: Callable[[int], None]) -> View:
    """Read a body to its end."""
    body = bytearray()
    error = None
    try:
        progress(0)
        async for chunk in stream:
            body += chunk
            progress(len(body))
    except trio.BrokenResourceError as broken:
        error = broken
    return replace(view, body=shown_content(bytes(body)), trailers=listed(stream.trailers), end=ending(error))


def nothing(count: int) -> None:
    """Nobody wants to know."""


# ---- the server ----


class Server:
    """Handlers, and what they saw of the exchanges of one plan."""

    def __init__(self) -> None:
        self.port = 0
        self.ports: dict[int, int] = {}
        """By the number of streams at the same time."""
        self._plan: dict[str, Exchange] = {}
        self._waiting: set[int] = set()
        self._views: list[View] = []
        self._all = trio.Event()

    async def begin(self, plan: Plan) -> None:
        self.port = self.ports[plan.streams]
        self._plan = {exchange.fields[0][1]: exchange for exchange in plan.exchanges}
        self._waiting = {each.number for each in plan.exchanges if each.client_reset != "at any time"}
        self._views = []
        self._all = trio.Event()
        self._check_all()

    async def views(self) -> list[View]:
        """Wait for all."""
        await self._all.wait()
        return self._views

    async def answer(self, stream: http.Exchange) -> None:
        request = stream.request
        exchange = self._plan.get(request.headers.get("x-exchange", ""))
        if exchange is None:  # of the plan before, and given up; or the first one of a client
            await stream.respond()
            return
        length = -1 if request.content_length is None else request.content_length
        view = View(
            exchange.number, request.method, request.path, request.authority, 0, listed(request.headers), length
        )
        try:
            view = await _answer(stream, exchange, view)
        finally:
            if exchange.client_reset != "at any time" or view.end == "clean":
                self._views.append(view)
            self._waiting.discard(exchange.number)
            self._check_all()

    def _check_all(self) -> None:
        if not self._waiting:
            self._all.set()


async def _answer(stream: http.Exchange, exchange: Exchange, view: View) -> View:
    if exchange.answer == "late":
        view = await read(stream, view, nothing)
    if exchange.server_reset == 0:
        stream.reset(http.ErrorCode.INTERNAL_ERROR)
        return view
    try:
        if exchange.answer == "early" or exchange.server_reset > 0 or exchange.flush or exchange.announce:
            view = await _answer_in_parts(stream, exchange, view)
        else:
            body = content(exchange.number, "server", 0, sum(exchange.response_body))
            await stream.respond(exchange.status, _head(exchange), body, trailers=exchange.response_trailers)
    except trio.BrokenResourceError as error:
        view = replace(view, end=f"{view.end}, then sending failed: {error!r}")
    return view


async def _answer_in_parts(stream: http.Exchange, exchange: Exchange, view: View) -> View:
    await stream.start(exchange.status, _head(exchange))
    start = 0
    for index, size in enumerate(exchange.response_body):
        if exchange.server_reset == index + 1:
            break
        await stream.send_all(content(exchange.number, "server", start, size))
        start += size
    if exchange.server_reset > 0:
        stream.reset(http.ErrorCode.INTERNAL_ERROR)
        return view
    if exchange.answer == "early":
        view = await read(stream, view, nothing)
    if exchange.client_reset == "closed":
        await stream.wait_ended()
        return replace(view, cut=True)
    if view.end != "reset CANCEL":
        await stream.finish(exchange.response_trailers)
    return view


def _head(exchange: Exchange) -> list[Field]:
    fields = list(exchange.response_fields)
    if exchange.response_length:
        fields.append(("content-length", str(sum(exchange.response_body))))
    if exchange.announce:
        fields.append(("trailer", ", ".join(dict.fromkeys(name for name, _ in exchange.response_trailers))))
    return fields


@asynccontextmanager
async def serving(tls: Tls | None) -> AsyncIterator[Server]:
    """Serve as long as the block."""
    server = Server()
    context = None if tls is None else tls.server
    async with trio.open_nursery() as nursery:
        for streams, config in ((0, None), (NARROW, http.Config(max_streams=NARROW))):
            serve = partial(http.serve, server.answer, 0, host=HOST, ssl_context=context, config=config)
            [listener] = await nursery.start(serve)
            server.ports[streams] = listener.socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


# ---- the client ----


async def ask(tls: Tls | None, port: int, plan: Plan) -> list[View]:
    """Have a client do its part of a plan on one connection; what it saw."""
    views: list[View] = []

    async def one(client: http.Client, exchange: Exchange) -> None:
        views.append(await _Asking(exchange).run(client))

    scheme, context = ("http", None) if tls is None else ("https", tls.client)
    async with http.connect(f"{scheme}://{HOST}:{port}", ssl_context=context) as client, trio.open_nursery() as nursery:
        await client.session.ping()  # then the server has said how many it takes
        for exchange in plan.exchanges:
            nursery.start_soon(one, client, exchange)
    return views


async def parts(exchange: Exchange) -> AsyncIterator[bytes]:
    """A request's body."""
    start = 0
    for size in exchange.body or ():
        yield content(exchange.number, "client", start, size)
        start += size


class _Asking:
    """One request."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.reached = {"head": trio.Event(), "body": trio.Event()}
        self.sent = trio.Event()

    async def run(self, client: http.Client) -> View:
        exchange = self.exchange
        fields = list(exchange.fields)
        if exchange.length and (size := sum(exchange.body or ())):
            fields.append(("content-length", str(size)))
        if exchange.trailers:
            fields.append(("trailer", ", ".join(dict.fromkeys(name for name, _ in exchange.trailers))))
        if exchange.flush and exchange.wait_at < 0 and not (exchange.client_reset or exchange.trailers):
            return await self.request(client, fields)
        stream = await client.open(
            exchange.method, exchange.path, fields, authority=exchange.authority, end=exchange.body is None
        )
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(self.send, stream)
            view = await self.receive(stream)
            for event in self.reached.values():
                event.set()
        return view

    async def request(self, client: http.Client, fields: list[Field]) -> View:
        """The same by other means, where they do."""
        exchange = self.exchange
        body = b"" if exchange.body is None else parts(exchange)
        try:
            stream = await client.request(exchange.method, exchange.path, fields, body, authority=exchange.authority)
        except trio.BrokenResourceError as error:
            return View(exchange.number, end=ending(error))
        async with stream:
            return await self.receive(stream)

    async def send(self, stream: http.Response) -> None:
        body = self.exchange.body
        try:
            if body is not None:
                await self.send_body(stream, body)
        except trio.BrokenResourceError:
            pass  # the response says why
        self.sent.set()

    async def send_body(self, stream: http.Response, body: tuple[int, ...]) -> None:
        exchange = self.exchange
        start = 0
        for index, size in enumerate(body):
            if exchange.wait_at == index:
                await self.reached[exchange.wait_for].wait()
            await stream.send_all(content(exchange.number, "client", start, size))
            start += size
        if exchange.wait_at == len(body):
            await self.reached[exchange.wait_for].wait()
        if exchange.client_reset in ("", "closed"):
            await stream.finish(exchange.trailers)

    async def receive(self, stream: http.Response) -> View:
        exchange = self.exchange
        view = View(exchange.number)
        if exchange.client_reset == "at any time":
            await self.sent.wait()
            stream.reset()
            return replace(view, end="given up")
        try:
            await stream.started()
        except trio.BrokenResourceError as error:
            return replace(view, end=ending(error))
        self.reached["head"].set()
        length = -1 if stream.content_length is None else stream.content_length
        view = replace(view, status=stream.status, fields=listed(stream.headers), length=length)
        if exchange.client_reset:
            left = sum(exchange.response_body)
            while left:
                left -= len(await stream.receive_some(left))
            self.reached["body"].set()
            await self.sent.wait()
            stream.reset()
            return replace(view, end="given up")
        return await read(stream, view, self.progress)

    def progress(self, count: int) -> None:
        if count >= sum(self.exchange.response_body):
            self.reached["body"].set()

"""A server or a client of muxpy's over a real connection, the scripted peer at its other end, and an honest stream
between them, on which everything that is sent comes back."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import trio
import trustme

from muxpy import http
from tests.helpers.pairs import tcp_pair

from .peer import PREFACE, Peer, Seen, data, headers, literal, rst, settings, window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["NO_SETTINGS", "REQUEST", "Scene", "client_scene", "request", "response", "server_scene"]

NO_SETTINGS: Final = settings()
REQUEST: Final = {b":method": b"GET", b":scheme": b"https", b":authority": b"example.org", b":path": b"/"}
BODY: Final = b"hello"
"""Of the server's answer."""


def request(*more: tuple[bytes, bytes], path: bytes = b"/", method: bytes = b"GET") -> bytes:
    """The header block of a request, with more fields."""
    return literal(*(REQUEST | {b":method": method, b":path": path}).items(), *more)


def response(*more: tuple[bytes, bytes], status: bytes = b"200") -> bytes:
    """The header block of a response, with more fields."""
    return literal((b":status", status), *more)


class Scene:
    """What a case of the table has to do with. The peer opens and ends streams as both roles do, so that most cases
    are the same for both."""

    def __init__(self, peer: Peer, *, client: bool) -> None:
        self.peer = peer
        self.client = client
        """The role of muxpy."""
        self.honest = 0
        self.highest = 0
        """The last id that the peer has opened, which a GOAWAY tells it."""
        self.requests: list[http.Request] = []
        """Those that the server has handled, but for the honest one."""
        self.results: dict[int, object] = {}
        """What came of streams: the body that the server has read; the response that the client has got, or an
        error."""
        self.trailers: dict[int, http.Headers | None] = {}
        self.app: http.Client | None = None
        self.session: http.HttpSession | None = None
        self._nursery: trio.Nursery
        self._responses: dict[int, http.Response] = {}
        self._next = 1
        self._sent = 0

    # ---- the peer ----

    async def begin(self) -> None:
        """Say what a connection begins with, and set up the honest stream."""
        peer = self.peer
        await peer.send(b"" if self.client else PREFACE, NO_SETTINGS)
        await peer.until(lambda: len(peer.seen) >= 2)
        ours, acknowledged = peer.seen
        assert ours.name == "SETTINGS"
        assert acknowledged == Seen("SETTINGS", 0, (), True)
        peer.seen.clear()
        await peer.send(settings(ack=True))
        if self.client:
            self.honest = await self.ask("/echo", method="POST", end=False)
            peer.hidden.add(self.honest)
            await peer.send(headers(self.honest, response()))
        else:
            self.honest = self.next_id()
            peer.hidden.add(self.honest)
            await peer.send(headers(self.honest, request(path=b"/echo", method=b"POST")))
        await self.settle()

    async def settle(self) -> None:
        """Wait until all that was sent has been acted on, by the application too; and see that the honest stream goes
        on. With the second exchange, what came late for the first has been written."""
        peer = self.peer
        for _ in range(3):
            self._sent += 1
            payload = b"honest%4d" % self._sent
            await peer.send(data(self.honest, payload))
            await peer.until(lambda payload=payload: bytes(peer.echoed.get(self.honest, b"")) == payload)  # type: ignore[misc]
            peer.echoed[self.honest].clear()
            await peer.answered()

    def next_id(self) -> int:
        """An id that the peer, a client, has not used yet; it will."""
        stream_id = self.highest = self._next
        self._next += 2
        return stream_id

    @property
    def idle(self) -> int:
        """An id that nobody has used yet, of a client's streams."""
        return self._next if not self.client else 1001

    # ---- streams in every state ----

    async def opened(self, *more: tuple[bytes, bytes], path: str = "/hold") -> int:
        """Both directions are open, and muxpy's application sends nothing and ends nothing. A client reads what comes,
        unless the path is `/still`."""
        if self.client:
            stream_id = await self.ask(path, method="POST", end=False)
            await self.peer.send(headers(stream_id, response(*more)))
        else:
            stream_id = self.next_id()
            await self.peer.send(headers(stream_id, request(*more, path=path.encode(), method=b"POST")))
        await self.peer.answered()
        return stream_id

    async def ended_by_peer(self) -> int:
        """Half-closed (remote)."""
        if self.client:
            stream_id = await self.ask("/hold", method="POST", end=False)
            await self.peer.send(headers(stream_id, response(), end=True))
        else:
            stream_id = self.next_id()
            await self.peer.send(headers(stream_id, request(path=b"/hold"), end=True))
        await self.peer.answered()
        return stream_id

    async def ended_here(self) -> int:
        """Half-closed (local)."""
        if self.client:
            stream_id = await self.ask("/")
            await self.peer.send(headers(stream_id, response()))
            await self.peer.answered()
            return stream_id
        stream_id = self.next_id()
        await self.peer.send(headers(stream_id, request(path=b"/first", method=b"POST")))
        await self.peer.until(lambda: self.peer.seen)
        (answer,) = self.peer.seen
        assert answer[:2] == ("HEADERS", stream_id)
        assert answer.flag
        self.peer.seen.clear()
        return stream_id

    async def ended(self) -> int:
        """Closed, since both sides have ended it."""
        if self.client:
            stream_id = await self.ask("/")
            await self.peer.send(headers(stream_id, response(), end=True))
            await self.peer.answered()
            return stream_id
        stream_id = self.next_id()
        await self.peer.send(headers(stream_id, request(), end=True))
        await self.answer(stream_id)
        return stream_id

    async def reset_by_peer(self) -> int:
        """Closed, since the peer has reset it."""
        stream_id = await self.opened()
        await self.peer.send(rst(stream_id))
        await self.peer.answered()
        return stream_id

    async def reset_here(self) -> int:
        """Closed, since muxpy has reset it."""
        stream_id = await self.opened()
        await self.peer.send(window(stream_id, 0))
        await self.peer.expect(Seen("RST", stream_id, "PROTOCOL_ERROR"))
        return stream_id

    # ---- the application ----

    async def answer(self, stream_id: int, body: bytes = BODY, status: bytes = b"200") -> None:
        """The server answers this request, and sends nothing else."""
        seen = self.peer.seen
        await self.peer.until(lambda: seen and seen[-1].flag and seen[-1].stream_id == stream_id)
        head, *rest = seen
        assert head[:2] == ("HEADERS", stream_id)
        assert isinstance(head.value, tuple)
        assert head.value[0] == (b":status", status)
        assert all(each[:2] == ("DATA", stream_id) for each in rest)
        assert b"".join(each.value for each in rest if isinstance(each.value, bytes)) == body
        seen.clear()

    async def ask(self, path: str = "/", *, method: str = "GET", end: bool = True, connect: bool = False) -> int:
        """The client sends a request, whose id this returns."""
        assert self.app is not None
        self._nursery.start_soon(partial(self._ask, method, path, end=end, connect=connect))
        seen = self.peer.seen
        await self.peer.until(lambda: seen)
        (head,) = seen
        assert head.name == "HEADERS"
        assert head.flag == end
        seen.clear()
        return head.stream_id

    async def _ask(self, method: str, path: str, *, end: bool, connect: bool) -> None:
        assert self.app is not None
        if connect:
            async with self.app.tunnel("example.org:443") as tunnel:
                await self._take(tunnel)
        else:
            response = await self.app.open(method, path, end=end)
            if path == "/still":
                self._responses[response.id] = response
            else:
                await self._take(response)

    async def _take(self, response: http.Response) -> None:
        self._responses[response.id] = response
        try:
            if response.id == self.honest or (not self.honest and response.id == 1):
                async for part in response:
                    await response.send_all(part)
            head = await response.started()
            self.results[response.id] = head.status, await response.read()
            self.trailers[response.id] = response.trailers
        except trio.BrokenResourceError as error:
            self.results[response.id] = error

    async def post(self, body: bytes) -> int:
        """The client sends a request with this body, which it does not end. Returns the request's id."""
        stream_id = await self.ask("/", method="POST", end=False)
        self._nursery.start_soon(self._responses[stream_id].send_all, body)
        return stream_id

    async def result(self, stream_id: int) -> object:
        """What came of a stream, once something has."""
        while stream_id not in self.results:
            await self.settle()
        return self.results[stream_id]

    async def handle(self, exchange: http.Exchange) -> None:
        """The server's application."""
        path = exchange.request.path
        if path == "/echo":
            await exchange.start()
            async for part in exchange:
                await exchange.send_all(part)
            await exchange.send_eof()
            return
        self.session = self.session or exchange.session  # type: ignore[assignment]
        self.requests.append(exchange.request)
        if path in ("/hold", "/still"):
            await trio.sleep_forever()
        elif path == "/first":
            await exchange.respond()
            await self._read(exchange)
        elif path == "/read":
            await self._read(exchange)
            await exchange.respond(200, {}, BODY)
        elif path == "/large":
            await exchange.respond(200, {}, bytes(100_000))
        elif path == "/tunnel" or exchange.request.method == "CONNECT":
            await exchange.start()
            await self._read(exchange)
            await exchange.send_eof()
        elif path == "/push":
            pushed = await exchange.push("/")
            await exchange.respond(200, {}, BODY if pushed else b"")
        elif path == "/leave":
            exchange.session.go_away()
            await exchange.respond(200, {}, BODY)
        else:
            await exchange.respond(200, {}, BODY)

    async def _read(self, exchange: http.Exchange) -> None:
        try:
            self.results[exchange.id] = b"".join([part async for part in exchange])
            self.trailers[exchange.id] = exchange.trailers
        except trio.BrokenResourceError as error:
            self.results[exchange.id] = error
            raise


# ---- connections ----


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's. Those of other tests are theirs: a server of HTTP/2 sets ALPN on its own."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols(["h2"])
    return server, client


@asynccontextmanager
async def server_scene(kind: str, config: http.Config | None) -> AsyncIterator[Scene]:
    """A server, over `tcp`, also in `pieces`, or `tls`."""
    context, trusting = _contexts() if kind == "tls" else (None, None)
    async with trio.open_nursery() as nursery:
        scene: Scene

        async def handle(exchange: http.Exchange) -> None:
            await scene.handle(exchange)

        serve = partial(http.serve, handle, 0, host="127.0.0.1", ssl_context=context, config=config)
        (listener,) = await nursery.start(serve)
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        if trusting is not None:
            stream = trio.SSLStream(stream, trusting, server_hostname="127.0.0.1", https_compatible=True)
        async with stream:
            scene = Scene(Peer(stream), client=False)
            scene.peer.pieces = kind == "pieces"
            nursery.start_soon(scene.peer.read)
            yield scene
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client_scene(kind: str, config: http.Config | None) -> AsyncIterator[Scene]:
    """A client, over `tcp`, also in `pieces`, or `tls`."""
    near, plain = await tcp_pair()
    far: trio.abc.Stream = plain
    context, trusting = _contexts() if kind == "tls" else (None, None)
    if context is not None:
        far = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
    scene = Scene(Peer(far), client=True)
    scene.peer.begins_with = PREFACE
    scene.peer.pieces = kind == "pieces"
    url = "http://127.0.0.1" if context is None else "https://127.0.0.1"
    async with trio.open_nursery() as nursery, far:
        scene._nursery = nursery
        nursery.start_soon(scene.peer.read)
        async with http.connect(url, ssl_context=trusting, config=config, stream=near) as client:
            scene.app, scene.session = client, client.session
            yield scene
            nursery.cancel_scope.cancel()

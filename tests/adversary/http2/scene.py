"""A server of HTTP/2 over real connections: an attacker, which is scripted frame by frame, an honest stream between
the attacks, and an honest neighbour on a connection of its own.

Trio's clock is a mock clock in most tests with a scene, and stands still unless a test moves it: so no limit is reached
because the machine is slow, and no bucket fills up because it is fast.

What the application does with a request says its path.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from muxpy import http
from muxpy.frame.http2 import Decoder, HpackDecoder, named_code, parse_goaway
from tests.frame.http2.wire import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from tests.helpers.load import until
from tests.helpers.pairs import client_context, server_context

from . import wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

__all__ = ["BODY", "QUICK", "Peer", "Scene", "Seen", "read_in", "stage"]

NAMES: Final = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    RST_STREAM: "RST",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
}

LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

BODY: Final = bytes(200_000)
"""What `/big` answers with."""

PLUG: Final = 4 * 1024 * 1024
"""Bytes that are more than the kernel takes for a peer that does not read."""

QUICK: Final = http.Config(linger_timeout=10)
"""Long enough for any machine: what the peer reads ends it."""

HONEST: Final = 1
"""The stream that is open from the beginning, and echoes."""


class Seen(NamedTuple):
    """What counts of a frame: the status of a response's head, the code of a reset, the bytes of DATA."""

    name: str
    stream_id: int
    value: object = None
    end: bool = False


class Peer:
    """The far end of a connection: it writes what a test says, and shows what comes back."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.text = ""
        """Of the last GOAWAY."""
        self._decoder = Decoder()
        self._hpack = HpackDecoder()
        self._frames: deque[Seen] = deque()
        self._data = b""

    async def send(self, *frames: bytes) -> None:
        """Write frames in one call. A connection that has ended does not matter."""
        with suppress(*LOST):
            await self.stream.send_all(b"".join(frames))

    async def receive(self) -> Seen | None:
        """The next frame; None at the end of the transport."""
        while not self._frames:
            try:
                received = await self.stream.receive_some(65_536)
            except LOST:
                return None
            if not received:
                return None
            for kind, flags, stream_id, body, rest, _ in self._decoder.feed(received):
                self._data += bytes(body)
                if not rest:
                    self._frames.append(self._seen(kind, flags, stream_id, self._data))
                    self._data = b""
        return self._frames.popleft()

    def _seen(self, kind: int, flags: int, stream_id: int, body: bytes) -> Seen:
        name, end = NAMES[kind], bool(flags & END_STREAM) and kind in (DATA, HEADERS)
        if kind == HEADERS:
            fields = dict(self._hpack.decode(body).fields)
            return Seen(name, stream_id, int(fields.get(b":status", b"0")) or tuple(fields), end)
        if kind == RST_STREAM:
            return Seen(name, stream_id, named_code(int.from_bytes(body, "big")))
        if kind == GOAWAY:
            last_id, code, debug = parse_goaway(body)
            self.text = debug.decode()
            return Seen(name, last_id, named_code(code))
        if kind == WINDOW_UPDATE:
            return Seen(name, stream_id, int.from_bytes(body, "big"))
        return Seen(name, stream_id, body, end)


class Scene:
    """The server, its attacker, and what each of them has seen."""

    def __init__(self, nursery: trio.Nursery, port: int, kind: str) -> None:
        self.nursery = nursery
        self.port = port
        self.kind = kind
        self.peer: Peer
        self.session: http.HttpSession
        """Of the attacker's connection, at the server."""
        self.streams: list[trio.abc.Stream] = []
        """Of all that has connected by `connect`."""
        self.seen: list[Seen] = []
        """What the server has sent to the attacker, but for settings, window updates and the honest stream."""
        self.goaway: Seen | None = None
        self.sent = 0
        """Bytes, by `send`."""
        self.updates: list[Seen] = []
        """Window updates that came."""
        self.counts = dict.fromkeys(NAMES.values(), 0)
        """Frames that came, by kind."""
        self.keeps = True
        """Whether what was sent is kept in `seen`."""
        self.handled = self.running = 0
        """Handlers that were started, and those that run now; the honest ones left out."""
        self.errors: list[Exception] = []
        self.let_go = trio.Event()
        """Set, it has the handlers that hold a stream return."""
        self.ended = trio.Event()
        """The attacker's connection has ended."""
        self._echoed = bytearray()
        self._news = trio.lowlevel.ParkingLot()
        self._reading: trio.CancelScope | None = None
        self._number = 0

    # ---- the application ----

    async def handle(self, exchange: http.Exchange) -> None:
        """Answer by the path."""
        path = exchange.request.path
        if path == "/echo":
            if exchange.request.headers.get("attacker"):
                assert isinstance(exchange.session, http.HttpSession)
                self.session = exchange.session
            with suppress(trio.BrokenResourceError):
                await exchange.start(200)
                async for part in exchange:
                    await exchange.send_all(part)
            return
        self.handled += 1
        self.running += 1
        try:
            await self._answer(exchange, path)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if self.keeps:
                self.errors.append(error)
            raise
        finally:
            self.running -= 1

    async def _answer(self, exchange: http.Exchange, path: str) -> None:
        if path.startswith("/hold"):
            await self.let_go.wait()
        elif path == "/read":
            async for _ in exchange:
                pass
        elif path == "/big":
            await exchange.respond(200, body=BODY)
            return
        elif path == "/head":
            await exchange.start(200, {"filler": f"{exchange.id} {4000 * 'x'}"})
            await self.let_go.wait()
            return
        elif path == "/plug":
            await exchange.respond(200, body=bytes(PLUG))
            return
        await exchange.respond(200, body=b"done")

    # ---- the attacker ----

    async def begin(self, credit: int = 2**30) -> None:
        """Connect as the attacker does, and open the honest stream. `credit`: what the connection's window is more than
        its first 65,535 bytes."""
        self.peer = Peer(await self.connect())
        self.listen()
        honest = wire.request(HONEST, "/echo", (b"attacker", b"yes"), method="POST")
        await self.send(wire.BEGIN, wire.window_update(0, credit) if credit else b"", honest)
        await self.exchange()

    async def connect(self) -> trio.abc.Stream:
        """A connection to the server, on which nothing was said yet."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        if self.kind == "tcp":
            return stream
        context = client_context()
        context.set_alpn_protocols(["h2"])
        secure = trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)
        await secure.do_handshake()
        return secure

    def listen(self) -> None:
        """Read everything that the server sends, until it ends, and then end too."""
        self.nursery.start_soon(self._read)

    async def _read(self) -> None:
        with trio.CancelScope() as self._reading:
            while (frame := await self.peer.receive()) is not None:
                self._on_frame(frame)
        if not self._reading.cancelled_caught:
            self.ended.set()
            with suppress(*LOST):
                await self.peer.stream.aclose()
        self._news.unpark_all()

    def go_deaf(self) -> None:
        """Read nothing more."""
        assert self._reading is not None
        self._reading.cancel()

    def _on_frame(self, frame: Seen) -> None:
        self.counts[frame.name] += 1
        if frame.name == "WINDOW_UPDATE":
            self.updates.append(frame)
        elif frame.name == "GOAWAY":
            self.goaway = frame
        if frame.stream_id == HONEST and frame.name == "DATA":
            assert isinstance(frame.value, bytes)
            self._echoed += frame.value
        elif self.keeps and frame.stream_id != HONEST and frame.name not in ("SETTINGS", "WINDOW_UPDATE"):
            self.seen.append(frame)
        self._news.unpark_all()

    async def send(self, *frames: bytes) -> None:
        """Write frames."""
        self.sent += sum(map(len, frames))
        await self.peer.send(*frames)

    async def exchange(self, size: int = 700) -> None:
        """Send something on the honest stream, which must come back. Returns early if the session ends."""
        self._number += 1
        payload = (b"%8d" % self._number) * (size // 8)
        await self.send(wire.window_update(HONEST, len(payload)), wire.data(HONEST, payload))
        while len(self._echoed) < len(payload) and not self.ended.is_set():
            await self._news.park()
        assert self.ended.is_set() or bytes(self._echoed) == payload
        self._echoed.clear()

    async def settle(self) -> None:
        """Wait until the server has answered what it got: with the first echo its reader has, with the second all that
        its tasks had to say has been written, with the third what came late for that is."""
        for _ in range(3):
            await self.exchange(16)

    async def play(self, waves: Sequence[bytes]) -> None:
        """Send wave after wave, and let the server answer each."""
        self.seen.clear()
        for wave in waves:
            await self.send(wave)
            await self.settle()

    @property
    def over(self) -> bool:
        """Whether the server has decided how the session ends."""
        return self.session.end is not None

    # ---- what must hold afterwards ----

    async def check_that_it_ends(self, code: http.ErrorCode, words: str) -> None:
        """The session has ended, by one GOAWAY that says why, and honest connections go on."""
        if not self.over:
            await self.settle()
        assert self.over, "it goes on"
        await self.ended.wait()
        assert self.goaway is not None, "no GOAWAY"
        assert self.goaway.value == code, self.peer.text
        assert words in self.peer.text
        assert self.counts["GOAWAY"] == 1
        end = await self.session.wait()
        assert end.code == code
        await self.check_neighbour()

    async def check_that_it_lives(self) -> None:
        """The honest stream and honest connections go on, and nothing waits to be written."""
        await self.settle()
        assert self.goaway is None, self.peer.text
        await self.exchange(5000)
        assert self.session.statistics().control_frames_waiting == 0
        await self.check_neighbour()

    async def check_neighbour(self) -> None:
        """A client with a connection of its own gets its answer."""
        scheme = "http" if self.kind == "tcp" else "https"
        context = None if self.kind == "tcp" else client_context()
        url = f"{scheme}://127.0.0.1:{self.port}/"
        async with http.connect(url, ssl_context=context) as client:
            response = await client.request("POST", "/echo", body=b"as ever")
            assert await response.read() == b"as ever"


@asynccontextmanager
async def stage(
    kind: str = "tcp", *, config: http.Config | None = None, narrow: bool = False, begin: bool = True
) -> AsyncIterator[Scene]:
    """A scene over `tcp` or `tls`. `narrow`: the kernel takes little of what the server writes. Without `begin`, the
    attacker has yet to connect."""
    async with trio.open_nursery() as nursery:
        scene: Scene
        context: ssl.SSLContext | None = None if kind == "tcp" else server_context()

        async def handle(exchange: http.Exchange) -> None:
            await scene.handle(exchange)

        serve = partial(http.serve, handle, 0, host="127.0.0.1", ssl_context=context, config=config or QUICK)
        (listener,) = await nursery.start(serve)
        if narrow:  # what is accepted inherits it
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        scene = Scene(nursery, listener.socket.getsockname()[1], kind)
        if begin:
            await scene.begin()
        try:
            yield scene
        finally:
            scene.let_go.set()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):  # or a Cancelled would take the place of what the block raises
                for stream in scene.streams:
                    await trio.aclose_forcefully(stream)


async def read_in(scene: Scene, sent: int) -> None:
    """Wait until the server has read as many bytes as that since it began, or has ended the session."""
    await until(lambda: scene.over or scene.session.statistics().bytes_received >= sent)

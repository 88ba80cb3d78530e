"""A session over a real connection, the scripted peer at its other end, and an honest stream between them.

Time stands still in most tests with a scene, or is driven: Trio's clock is a mock clock. So no limit of the session's
is reached because the machine is slow, and what is allowed in a second is not used up by one that is fast.

The session's application echoes on the honest stream. What it does on another stream says the stream's type.
"""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import pytest
import trio

import muxpy
from muxpy.frame.muxado import FIN, GOAWAY, RST, SYN, WND_INC
from tests.frame import wire
from tests.helpers.load import nothing_left, until
from tests.helpers.pairs import client_context, server_context, tcp_pair
from tests.helpers.raw_peer import Frame, RawPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "CLOSES",
    "ECHOES",
    "EITHER",
    "FAILS",
    "HOLDS",
    "READS",
    "SOAKS",
    "Scene",
    "Seen",
    "connected",
    "seen",
    "stage",
]

EITHER: Final = pytest.mark.parametrize(
    ("kind", "client"), [("tcp", True), ("tls", False)], ids=["tcp-client", "tls-server"]
)
"""Each transport and each role once: what a frame does depends on neither."""

HOLDS: Final = None
"""Of a stream's type: the application holds the stream and does nothing with it, until the test ends."""
ECHOES: Final = 1
READS: Final = 2
"""It reads to the end, and closes."""
CLOSES: Final = 3
"""It closes the stream at once, unread."""
FAILS: Final = 4
SOAKS: Final = 5
"""It reads until `Scene.dry` is set, and then holds the stream."""

PLUG: Final = 1 << 20
"""Bytes that are more than the kernel takes for a peer that does not read, if it is told to take little."""

LOST = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Seen(NamedTuple):
    """What counts of a frame that the session sent: the code of an RST, the increment of a WND_INC, the bytes of a
    DATA frame (with `fin`, if it had that)."""

    name: str
    stream_id: int
    value: object = None


def seen(frame: Frame) -> Seen:
    """What counts of a frame."""
    if frame.kind == RST:
        return Seen("RST", frame.stream_id, frame.code)
    if frame.kind == WND_INC:
        return Seen("WND_INC", frame.stream_id, int.from_bytes(frame.body, "big"))
    if frame.kind == GOAWAY:
        return Seen("GOAWAY", 0, frame.code)
    if frame.kind == SYN:
        return Seen("SYN", frame.stream_id)
    return Seen("FIN" if frame.flags & FIN else "DATA", frame.stream_id, frame.body)


class Scene:
    """The session, its peer, and what each of them has seen."""

    def __init__(self, session: muxpy.Session, peer: RawPeer, nursery: trio.Nursery) -> None:
        self.session = session
        self._nursery = nursery
        self.peer = peer
        self.seen: list[Seen] = []
        """What the session sent, but for heartbeats and the honest stream."""
        self.granted: Counter[int] = Counter()
        """Bytes of window that it gave, by stream."""
        self.goaway: Frame | None = None
        self.ids = count(2 if session.client else 3, 2)
        """Stream ids of the peer's side that were not used yet."""
        self.honest = next(self.ids)
        self.errors: list[Exception] = []
        """What the application got to see, the honest stream's end first."""
        self.handled = 0
        """Handlers that were started."""
        self.running = 0
        """Those that run now."""
        self.let_go = trio.Event()
        """Set, it has the handlers that hold a stream return."""
        self.dry = False
        self.stays = False
        """Whether the peer stays when the session has ended."""
        self.ended = trio.Event()
        """The session's connection has ended."""
        self.keeps = True
        """Whether what was sent is kept for `seen`, and what handlers saw for `errors`."""
        self._echoed = bytearray()
        self._unseen: set[int] = set()
        self._news = trio.lowlevel.ParkingLot()
        self._sending = trio.Lock()
        self._random = Random(self.honest)
        self._due = 0
        self._plugged = False
        self._reading: trio.CancelScope | None = None

    # ---- the peer ----

    async def send(self, *frames: bytes) -> None:
        """Write frames. A session that has ended does not matter."""
        async with self._sending:
            with suppress(*LOST):
                await self.peer.send(*frames)

    async def read(self) -> None:
        """Read everything that the session sends, until it ends, and end too."""
        with trio.CancelScope() as self._reading, suppress(*LOST):
            while (frame := await self.peer.receive()) is not None:
                self._on_frame(frame)
        if not self._reading.cancelled_caught:
            self.ended.set()
            with suppress(*LOST):
                if self.stays:
                    await trio.sleep_forever()
                await self.peer.aclose()  # or the session would give it more time to read
        self._news.unpark_all()

    async def go_deaf(self) -> None:
        """Read nothing more. What is on its way fills the kernel, so that everything else waits in the session."""
        assert self._reading is not None
        self._reading.cancel()
        self._plugged = True
        plug = await self.session.open_stream()
        self._unseen.add(plug.id)
        await self.send(wire.wnd_inc(plug.id, PLUG))
        self._nursery.start_soon(self._plug, plug)
        await until(lambda: self.session._engine.writer._batch is not None)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert self.session._engine.writer._batch is not None

    async def _plug(self, stream: muxpy.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(bytes(PLUG))
        stream.reset()
        self._plugged = False

    def listen(self) -> None:
        """Read, from now on."""
        self._nursery.start_soon(self.read)

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self.session._engine.ending.end is not None

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == SYN and int.from_bytes(frame.body[-4:], "big") == wire.EXTENSION:
            self._unseen.add(frame.stream_id)
        elif frame.kind == GOAWAY:
            self.goaway = frame
        elif frame.kind == WND_INC:
            self.granted[frame.stream_id] += int.from_bytes(frame.body, "big")
        if frame.stream_id == self.honest and frame.name == "DATA":
            self._echoed += frame.body
        elif frame.stream_id != self.honest and frame.stream_id not in self._unseen and self.keeps:
            self.seen.append(seen(frame))
        self._news.unpark_all()

    async def exchange(self, size: int = 700) -> None:
        """Send something on the honest stream, which must come back unchanged. Returns early if the session ends."""
        payload = self._random.randbytes(size)
        due, self._due = self._due, size
        await self.send(wire.wnd_inc(self.honest, due) if due else b"", wire.data(self.honest, payload))
        while len(self._echoed) < size and not self.ended.is_set():
            await self._news.park()
        if not self.ended.is_set():
            assert bytes(self._echoed) == payload
        self._echoed.clear()

    async def settle(self) -> None:
        """Wait until the session has answered what it got: with the first echo its reader has, with the second all
        that its tasks had to say has been written, with the third what came late for that is."""
        await until(lambda: not self._plugged)
        for _ in range(3):
            await self.exchange(10)

    # ---- the application ----

    async def serve(self) -> None:
        """Serve the peer's streams."""
        try:
            await self.session.serve_streams(self._handle)
        except muxpy.SessionClosed as error:
            self.errors.append(error)

    async def accept_one(self) -> None:
        """Serve the honest stream, and accept no other."""
        await self._handle(await self.session.accept_stream())

    async def _handle(self, stream: muxpy.Stream) -> None:
        self.handled += 1
        self.running += 1
        try:
            await self._work(stream)
        except (muxpy.SessionClosed, muxpy.StreamReset) as error:
            if self.keeps:
                self.errors.append(error)
        finally:
            self.running -= 1

    async def _work(self, stream: muxpy.Stream) -> None:
        if stream.stream_type == FAILS:
            raise RuntimeError("a handler that fails")
        if stream.stream_type in (ECHOES, READS):
            async for part in stream:
                if stream.stream_type == ECHOES:
                    await stream.send_all(part)
        elif stream.stream_type != CLOSES:
            while stream.stream_type == SOAKS and not self.dry:
                await stream.receive_some()
            await self.let_go.wait()


@asynccontextmanager
async def stage(
    kind: str,
    *,
    client: bool,
    config: muxpy.SessionConfig | None = None,
    serves: bool = True,
    narrow: bool = False,
) -> AsyncIterator[Scene]:
    """A scene over `tcp` or `tls`; `client` is the session's role. `serves`: streams are accepted. `narrow`: the
    kernel takes little of what the session writes, as long as the peer does not read."""
    async with (
        nothing_left(),
        connected(kind, client, config, narrow) as (session, far),
        trio.open_nursery() as nursery,
    ):
        scene = Scene(session, RawPeer(cast("trio.abc.HalfCloseableStream", far)), nursery)
        scene.listen()
        nursery.start_soon(scene.serve if serves else scene.accept_one)
        await scene.send(wire.syn(scene.honest, stream_type=ECHOES))
        await scene.exchange()
        yield scene
        session.kill()
        scene.let_go.set()
        await session.wait()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    kind: str, client: bool, config: muxpy.SessionConfig | None, narrow: bool = False
) -> AsyncIterator[tuple[muxpy.Session, trio.abc.Stream]]:
    """A session, and the other end of its connection, on which nothing was said yet."""
    connecting, accepting = await tcp_pair()
    near, far = (connecting, accepting) if client else (accepting, connecting)
    if narrow:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
    if kind == "tcp":
        async with far, muxpy.open_session(near, client=client, config=config) as session:
            yield session, far
        return
    secure = trio.SSLStream(
        far,
        server_context() if client else client_context(),
        server_side=client,
        server_hostname=None if client else "127.0.0.1",
        https_compatible=True,
    )
    context = client_context() if client else server_context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(secure.do_handshake)
        async with (
            far,
            muxpy.open_session(
                near, client=client, ssl_context=context, server_hostname="127.0.0.1" if client else None, config=config
            ) as session,
        ):
            yield session, secure

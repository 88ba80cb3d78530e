"""A stream of a session joined to a socket by `Stream.splice`, and both far ends."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

import muxpy

from .pairs import session_pair, stream_pair, tcp_pair, unix_pair
from .tasks import read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = [
    "BULK",
    "QUIET",
    "STATES",
    "WINDOW",
    "Joint",
    "Outcome",
    "both_blocked",
    "both_ways",
    "digest",
    "idle",
    "joint",
    "limit",
    "peer_ended",
    "reset",
    "send",
    "socket_ended",
    "socket_full",
    "socket_pair",
    "waiting_for_window",
]

BULK = os.urandom(3 * 1024 * 1024 + 1)
WINDOW = 64 * 1024
QUIET = muxpy.SessionConfig(heartbeat_interval=None, max_streams=2000, accept_backlog=2000)


def digest(data: bytes) -> str:
    """Two long strings that differ are not worth a diff."""
    return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()}"


async def socket_pair(kind: str) -> tuple[trio.SocketStream, trio.SocketStream]:
    """The client's end, and the one to splice."""
    return unix_pair() if kind == "unix" else await tcp_pair()


def limit(stream: trio.SocketStream, size: int) -> None:
    """Have the kernel keep little for this end; it rounds up."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def reset(stream: trio.SocketStream) -> None:
    """Close it with a RST, if it is a TCP socket."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@dataclass
class Outcome:
    """How a splice ended."""

    error: BaseException | None = None
    done: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def record(self, operation: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run it, and note how it ends."""
        try:
            with self.scope:
                await operation(*args)
        except Exception as error:
            self.error = error
        finally:
            self.done.set()

    async def expect(self, error: type[BaseException] | None = None) -> BaseException | None:
        """Wait until it has ended, which it must have with this error."""
        await self.done.wait()
        if error is None:
            assert self.error is None, repr(self.error)
        else:
            assert isinstance(self.error, error), repr(self.error)
        return self.error


@dataclass
class Joint:
    """`peer` <- session -> `stream` <- splice -> `inner` <- kernel -> `outer`."""

    client: muxpy.Session
    server: muxpy.Session
    peer: muxpy.Stream
    stream: muxpy.Stream
    inner: trio.SocketStream
    outer: trio.SocketStream
    nursery: trio.Nursery

    def start(
        self,
        *,
        early: bytes = b"",
        head: Callable[[bytes], bytes | None] | None = None,
        pacer: muxpy.Pacer | None = None,
    ) -> Outcome:
        """Splice in a task of its own."""
        outcome = Outcome()
        splice = partial(self.stream.splice, self.inner, early=early, head=head, pacer=pacer)
        self.nursery.start_soon(outcome.record, splice)
        return outcome

    async def another(self, near: str = "unix") -> Joint:
        """One more stream of the same session, and a socket for it."""
        peer, stream = await stream_pair(self.client, self.server)
        outer, inner = await socket_pair(near)
        return Joint(self.client, self.server, peer, stream, inner, outer, self.nursery)

    async def aclose(self) -> None:
        for one in (self.inner, self.outer, self.peer, self.stream):
            await trio.aclose_forcefully(one)


@asynccontextmanager
async def joint(kind: str = "unix", near: str = "unix") -> AsyncIterator[Joint]:
    """A session over `kind`, and a socket of kind `near`, not spliced yet. What is left at the end is broken off."""
    extensions: list[muxpy.Extension] = []
    async with (
        session_pair(
            kind,
            client_config=QUIET,
            server_config=QUIET,
            client_extensions=extensions,
            server_extensions=extensions,
        ) as (client, server),
        trio.open_nursery() as nursery,
    ):
        peer, stream = await stream_pair(client, server)
        outer, inner = await socket_pair(near)
        made = Joint(client, server, peer, stream, inner, outer, nursery)
        try:
            yield made
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await made.aclose()
            client.kill()
            server.kill()


async def send(sink: trio.abc.HalfCloseableStream, data: bytes) -> None:
    await sink.send_all(data)
    await sink.send_eof()


async def both_ways(one: Joint, there: bytes, back: bytes) -> None:
    """Send `there` from the peer and `back` from the socket, all at once, and see both arrive."""
    received = {}

    async def receive(name: str, source: trio.abc.ReceiveStream) -> None:
        received[name] = await read_all(source)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, one.peer, there)
        nursery.start_soon(send, one.outer, back)
        nursery.start_soon(receive, "there", one.outer)
        nursery.start_soon(receive, "back", one.peer)
    assert digest(received["there"]) == digest(there)
    assert digest(received["back"]) == digest(back)


# ---- how far things can be ----


async def idle(one: Joint) -> None:
    """Nothing is on its way."""


async def waiting_for_window(one: Joint) -> None:
    await one.outer.send_all(BULK[: 2 * WINDOW])


async def socket_full(one: Joint) -> None:
    limit(one.inner, 4096)
    await one.peer.send_all(BULK[:WINDOW])


async def both_blocked(one: Joint) -> None:
    await waiting_for_window(one)
    await socket_full(one)


async def socket_ended(one: Joint) -> None:
    await one.outer.send_eof()


async def peer_ended(one: Joint) -> None:
    await one.peer.send_eof()


STATES = [idle, waiting_for_window, socket_full, both_blocked, socket_ended, peer_ended]

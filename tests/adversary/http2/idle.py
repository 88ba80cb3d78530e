"""What an idle connection costs a server: connections that have asked for something once, and are kept open."""

from __future__ import annotations

import gc
import os
import socket
import tracemalloc
from contextlib import suppress
from functools import partial
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from muxpy import http
from tests.helpers.pairs import client_context, server_context

from . import wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

__all__ = ["Client", "Cost", "hello", "idle_cost"]

PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Cost(NamedTuple):
    """Bytes for each connection at the server's end."""

    traced: float
    """That Python allocated."""
    resident: float
    """By which the process grew: with the memory of OpenSSL, and what the allocator does not give back."""
    objects: float
    """Objects that the cycle collector follows."""


class Client:
    """The other end, as small as can be: a socket, and TLS without Trio."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.context = context

    async def ask(self) -> None:
        """One request, and its answer. Of TLS nothing is kept after it."""
        sent = wire.BEGIN + wire.settings_ack() + wire.headers(1, wire.GET, end=True)
        if self.context is None:
            self.socket.send(sent)
            while len(await self._receive()) < 40:
                pass
            return
        stream = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(self.socket.dup())),
            self.context,
            server_hostname="127.0.0.1",
        )
        await stream.send_all(sent)
        received = b""
        while b"hello" not in received:
            received += await stream.receive_some()
        stream.transport_stream.socket.close()

    async def _receive(self) -> bytes:
        await trio.lowlevel.wait_readable(self.socket)
        with suppress(BlockingIOError):
            return self.socket.recv(65_536, socket.MSG_PEEK)
        return b""


async def idle_cost(connections: int, *, tls: bool, rest: Callable[[], Awaitable[object]]) -> Cost:
    """Open so many, ask once on each, and see what the server has more than before. `rest` lets two seconds pass."""
    _allow_descriptors(3 * connections + 200)
    context = client_context() if tls else None
    if context is not None:
        context.set_alpn_protocols(["h2"])
    serve = partial(http.serve, hello, 0, host="127.0.0.1", ssl_context=server_context() if tls else None)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve)
        port = listener.socket.getsockname()[1]
        clients: list[Client] = []
        try:
            for _ in range(20):  # what is made once for all
                clients.append(Client(port, context))
                await clients[-1].ask()
            before = await _measure(rest)
            for _ in range(connections):
                clients.append(Client(port, context))
                await clients[-1].ask()
            after = await _measure(rest)
        finally:
            tracemalloc.stop()
            for client in clients:
                client.socket.close()
            nursery.cancel_scope.cancel()
    return Cost(*((now - then) / connections for then, now in zip(before, after, strict=True)))


async def hello(exchange: http.Exchange) -> None:
    """The handler of the server."""
    await exchange.respond(200, {"content-type": "text/plain"}, b"hello")


async def _measure(rest: Callable[[], Awaitable[object]]) -> Cost:
    await rest()
    gc.collect()
    objects = len(gc.get_objects())
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    traced, _ = tracemalloc.get_traced_memory()
    return Cost(traced, _resident(), objects)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _allow_descriptors(count: int) -> None:
    soft, hard = getrlimit(RLIMIT_NOFILE)
    if soft < count:
        setrlimit(RLIMIT_NOFILE, (min(count, hard), hard))


def main() -> None:
    """What 1,000 of them cost, each: `python -m tests.adversary.http2.idle`."""
    for tls in (False, True):
        cost = trio.run(partial(idle_cost, 1000, tls=tls, rest=partial(trio.sleep, 3.5)))
        kind = "TLS" if tls else "TCP"
        print(f"{kind}: {cost.traced:,.0f} bytes of Python, {cost.resident:,.0f} resident, {cost.objects:.0f} objects")


if __name__ == "__main__":
    main()

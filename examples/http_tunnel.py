"""A tunnel by CONNECT: a local port that leads through an HTTP/2 proxy to a target.

    python examples/http_tunnel.py proxy [PORT]                    in one terminal
    python examples/http_tunnel.py forward LOCAL TARGET [PORT]     in another, as in: forward 8080 127.0.0.1:8000
    python examples/http_tunnel.py                                 both in one process, on free ports, to an echo

All connections to the local port share one connection to the proxy, each as a stream of its own. Here both are on one
machine. Between two, both take an `ssl_context`, and the proxy needs to know who asks: `request.headers` may have a
`proxy-authorization`. This one connects to loopback only.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

import muxpy
from muxpy import http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST, PORT = "127.0.0.1", 4082
REACHABLE = ("localhost", "127.0.0.1")
RESET = struct.pack("ii", 1, 0)


async def connect(exchange: http.Exchange) -> None:
    """The proxy: answer CONNECT, and join the stream to a socket."""
    if exchange.request.method != "CONNECT":
        await exchange.respond(405, {"allow": "CONNECT"})
        return
    host, _, port = exchange.request.authority.rpartition(":")
    if not port.isdecimal():
        await exchange.respond(400, {}, b"no port")
    elif host not in REACHABLE:
        await exchange.respond(403, {}, b"only loopback may be reached")
    else:
        try:
            target = await trio.open_tcp_stream(host, int(port))
        except OSError as error:
            await exchange.respond(502, {}, str(error).encode())
            return
        async with target:
            await exchange.start(200)
            await join(exchange, target)


async def join(stream: muxpy.Stream, connection: trio.SocketStream) -> None:
    """Carry bytes both ways. What breaks on one side is reset on the other, so that nobody takes a part for the
    whole: `splice` and the end of the handler see to the stream."""
    try:
        await stream.splice(connection)
    except BaseException:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise


async def carry(client: http.Client, target: str, connection: trio.SocketStream) -> None:
    """One connection to the local port."""
    async with connection:
        try:
            async with client.tunnel(target) as stream:
                await join(stream, connection)
        except http.TunnelRefused as refused:
            print(f"forward: {refused}: {refused.body.decode(errors='replace')}")
        except trio.BrokenResourceError as error:
            print("forward: a connection broke:", error)


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[int]:
    """Serve while the block runs; the value is the port, which the system picks if `port` is 0."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(http.serve, connect, port, host=HOST, cancel_handlers=True))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()  # a server runs until it is cancelled


@asynccontextmanager
async def forward(local: int, target: str, port: int) -> AsyncIterator[tuple[http.Client, int]]:
    """Forward while the block runs; the values are the connection to the proxy, and the local port."""
    async with http.connect(f"http://{HOST}:{port}") as client, trio.open_nursery() as nursery:
        start = partial(trio.serve_tcp, partial(carry, client, target), local, host=HOST)
        [listener] = await nursery.start(start)
        yield client, listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def echo(stream: trio.SocketStream) -> None:
    """The target of the demo."""
    async for data in stream:
        await stream.send_all(data)


async def demo() -> None:
    """A target, the proxy and the forward in one process, and a client."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HOST))
        target = f"{HOST}:{listener.socket.getsockname()[1]}"
        async with (
            proxy(0) as port,
            forward(0, target, port) as (_, local),
            await trio.open_tcp_stream(HOST, local) as connection,
        ):
            await connection.send_all(b"hello through the tunnel")
            await connection.send_eof()
            print("client:", b"".join([data async for data in connection]).decode())
        nursery.cancel_scope.cancel()


def port_from(text: str) -> int:
    """A port from the command line."""
    if not (text.isdecimal() and 0 < int(text) < 65536):
        sys.exit(f"{text} is no port: that is a number from 1 to 65535")
    return int(text)


def target_from(text: str) -> str:
    """A host and a port from the command line."""
    host, _, port = text.rpartition(":")
    if not host:
        sys.exit(f"{text} is no target: that is a host and a port, as in 127.0.0.1:8000")
    port_from(port)
    return text


def one_line(error: BaseException) -> str:
    """The first error in the nurseries' exception groups, as text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio.BrokenResourceError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot listen: {error.strerror}; another port may be free"
    return f"{error}: run it with `proxy` first"


async def main(args: list[str]) -> None:
    """Do what the command line says."""
    match args:
        case ["proxy", *rest] if len(rest) < 2:
            port = port_from(rest[0]) if rest else PORT
            async with proxy(port):
                print(f"proxy: listening on {HOST}:{port}; stop with Ctrl-C")
                await trio.sleep_forever()
        case ["forward", local, target, *rest] if len(rest) < 2:
            port = port_from(rest[0]) if rest else PORT
            async with forward(port_from(local), target_from(target), port) as (client, bound):
                print(f"forward: listening on {HOST}:{bound}, to {target}; stop with Ctrl-C")
                end = await client.session.wait()
            sys.exit(f"the connection to the proxy has ended: {end}")
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
    except* (OSError, muxpy.SessionClosed) as errors:  # nothing listens there, or another program does
        problem = one_line(errors)
    sys.exit(problem)

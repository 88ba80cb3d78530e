"""HTTP from a device that nobody can connect to, because it is behind NAT or a firewall.

    python examples/http_over_mux.py public [PORT]    the machine that can be reached
    python examples/http_over_mux.py device [PORT]    the device that cannot, in another terminal
    python examples/http_over_mux.py                  both in one process, on a free port

Here both are on one machine, at HOST. Between two machines, set HOST to the address of the public one, and use TLS
(both ends take an `ssl_context`).

The device dials out: one TCP connection, one session. Then the roles are swapped: the device accepts streams from the
session as if it were a listening socket, and the public side opens a stream for each request:

    public                                        device
    http.client ── stream ──┐              ┌── stream ── http.server
    http.client ── stream ──┼─ one socket ─┼── stream ── http.server
    http.client ── stream ──┘              └── stream ── http.server

HTTP itself is the standard library's. That is blocking code, so it runs in threads, on a `BlockingSocket`; the same few
lines let other blocking libraries use a stream.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import platform
import sys
from contextlib import asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

import trio

import muxpy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from _typeshed import WriteableBuffer

HOST, PORT = "127.0.0.1", 4243


class BlockingSocket(io.RawIOBase):
    """The part of a socket that http.server and http.client use, for a thread that Trio started."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    def sendall(self, data: bytes) -> None:
        """Send all of it. Like every call here, it raises trio.Cancelled in the thread if its task is cancelled."""
        trio.from_thread.run(self._stream.send_all, data)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Receive at least one byte; returns 0 at the end."""
        view = memoryview(buffer)
        data = trio.from_thread.run(self._stream.receive_some, len(view))
        view[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        """For BufferedReader."""
        return True

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BufferedReader:
        """The file that both libraries read from."""
        return io.BufferedReader(self)

    def close(self) -> None:
        """Does nothing: the task that opened the stream closes it."""


class Status(BaseHTTPRequestHandler):
    """The pages of the device."""

    protocol_version = "HTTP/1.1"  # more than one request on a stream

    def do_GET(self) -> None:
        """/status describes the machine; there is no other page."""
        if self.path == "/status":
            self._answer(200, {"system": platform.system(), "python": platform.python_version(), "pid": os.getpid()})
        else:
            self._answer(404, {"error": f"no page {self.path}"})

    def do_POST(self) -> None:
        """Any path: answers with the length of the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"path": self.path, "received": len(body)})

    def _answer(self, status: int, page: dict[str, Any]) -> None:
        body = json.dumps(page).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - as http.server has it
        """Print it like the rest of the example."""
        print("device:", format % args)


async def device(port: int) -> None:
    """Dial out, then serve HTTP on the streams that come in."""
    threads = trio.CapacityLimiter(100)  # requests in parallel

    async def serve_http(stream: muxpy.Stream) -> None:
        handle = partial(cast("Any", Status), BlockingSocket(stream), ("public", 0), None)
        try:
            async with stream:
                await trio.to_thread.run_sync(handle, limiter=threads)
        except trio.BrokenResourceError as error:  # its client has gone; the others are still served
            print("device: a request was given up:", error)

    async with muxpy.open_tcp_session(HOST, port) as session:
        print(f"device: connected from {session.local_address}")
        try:
            # The line that matters: a session takes the place of a listening socket.
            await trio.serve_listeners(serve_http, [session.listener()])
        except* muxpy.SessionClosed as ended:
            print("device:", ended.exceptions[0])


async def fetch(session: muxpy.Session, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Make one HTTP request to the device at the other end of the session; returns status and page."""

    def request() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("device")
        connection.sock = BlockingSocket(stream)  # connected already
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    async with await session.dial("device", 80) as stream:
        return await trio.to_thread.run_sync(request)


async def visit(session: muxpy.Session) -> None:
    """Make several requests at the same time to a device that has connected."""
    print(f"public: a device from {session.remote_address}")

    async def show(method: str, path: str, body: bytes | None = None) -> None:
        status, page = await fetch(session, method, path, body)
        print(f"public: {method} {path} -> {status} {page}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(show, "GET", "/status")
        nursery.start_soon(show, "GET", "/nothing-here")
        nursery.start_soon(show, "POST", "/firmware", bytes(1_000_000))
    # Returning closes the session gracefully.


@asynccontextmanager
async def public(port: int) -> AsyncIterator[int]:
    """Accept devices while the block runs; the value is the port, which the system picks if `port` is 0."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, visit, port, host=HOST))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def demo() -> None:
    """Both sides in one process."""
    async with public(0) as port:
        await device(port)


def port_from(text: str) -> int:
    """A port from the command line."""
    if not (text.isdecimal() and 0 < int(text) < 65536):
        sys.exit(f"{text} is no port: that is a number from 1 to 65535")
    return int(text)


def one_line(error: BaseException) -> str:
    """The first error in the nurseries' exception groups, as text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, muxpy.SessionClosed):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot listen: {error.strerror}; another PORT may be free"
    return f"{error}: run it with `public` first"


async def main(args: list[str]) -> None:
    """Do what the command line says."""
    port = port_from(args[1]) if len(args) > 1 else PORT
    match args[:1]:
        case ["public"]:
            async with public(port):
                print(f"public: listening on {HOST}:{port}; stop with Ctrl-C")
                await trio.sleep_forever()
        case ["device"]:
            await device(port)
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

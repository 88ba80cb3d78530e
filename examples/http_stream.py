"""A streaming client over HTTP/2: one request whose body and response go on together (full duplex).

    python examples/http_stream.py serve [PORT]     in one terminal
    python examples/http_stream.py client [PORT]    in another
    python examples/http_stream.py                  both in one process, on a free port

The client sends numbers, one a line, and the server answers each with the sum so far, while more numbers come. At the
end, the response's trailers say how many there were.
"""

from __future__ import annotations

import sys
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

import muxpy
from muxpy import http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

HOST, PORT = "127.0.0.1", 4081
LONGEST = 100
"""Bytes of a line: more are never kept."""


async def lines(stream: muxpy.Stream) -> AsyncGenerator[bytes]:
    """The lines of a body, as soon as each is whole: chunks may have a part of one, or several."""
    rest = b""
    async for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > LONGEST:
            raise ValueError(f"a line of more than {LONGEST} bytes")


async def add_up(exchange: http.Exchange) -> None:
    """Answer each number with the sum so far."""
    await exchange.start(200, {"content-type": "text/plain"})
    count = total = 0
    async with aclosing(lines(exchange)) as numbers:
        async for number in numbers:
            count += 1
            total += int(number)
            await exchange.send_all(b"%d\n" % total)
    await exchange.finish({"x-count": str(count)})
    # A line that is no number raises: that is logged here, and the client gets a StreamReset.


async def speak(talk: http.Response) -> None:
    """Send the request's body. A `send_all` waits while the server does not read (backpressure)."""
    for number in range(1, 6):
        await talk.send_all(b"%d\n" % number)
        print("client: sent", number)
    await talk.finish()


async def client(port: int) -> None:
    """One task sends, and this one receives."""
    async with http.connect(f"http://{HOST}:{port}") as client, await client.open("POST", "/") as talk:
        async with trio.open_nursery() as nursery, aclosing(lines(talk)) as sums:
            nursery.start_soon(speak, talk)
            async for line in sums:
                print("client: the sum is", int(line))
        if talk.trailers is not None:
            print("client: numbers:", talk.trailers["x-count"])


@asynccontextmanager
async def server(port: int) -> AsyncIterator[int]:
    """Serve while the block runs; the value is the port, which the system picks if `port` is 0."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(http.serve, add_up, port, host=HOST))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()  # a server runs until it is cancelled


async def demo() -> None:
    """Server and client in one process."""
    async with server(0) as port:
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
            async with server(port):
                print(f"server: listening on {HOST}:{port}; stop with Ctrl-C")
                await trio.sleep_forever()
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

"""Echo: a server and a client, with many conversations over one TCP connection.

    python examples/echo.py serve [PORT]     in one terminal
    python examples/echo.py client [PORT]    in another
    python examples/echo.py                  both in one process, on a free port

The server answers every stream in a task of its own. The client holds five conversations at the same time: five
streams over one socket. The end of `async with` closes the session, which waits for streams that are still open.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

import muxpy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST, PORT = "127.0.0.1", 4000


async def echo(stream: muxpy.Stream) -> None:
    """One conversation: send back everything, until the client ends its direction."""
    async for data in stream:
        await stream.send_all(data)
    # serve_streams closes the stream when this returns.


async def serve_session(session: muxpy.Session) -> None:
    """One client: a task for each stream, until its session ends."""
    print(f"server: a session from {session.remote_address}")
    await session.serve_streams(echo)
    print("server: the session is over")


async def converse(session: muxpy.Session, name: str) -> None:
    """Send a few words on a stream of its own, and receive them again."""
    async with await session.open_stream() as stream:
        for word in ("hello", "and", "good", "bye"):
            await stream.send_all(f"{name} says {word}; ".encode())
        await stream.send_eof()  # a half-close: nothing more to send, but still receiving
        answer = b"".join([data async for data in stream])
        print(f"client: stream {stream.id} came back: {answer.decode()}")


async def client(port: int) -> None:
    """Five conversations at the same time."""
    async with muxpy.open_tcp_session(HOST, port) as session, trio.open_nursery() as nursery:
        for name in ("Ada", "Bea", "Cyd", "Dan", "Eve"):
            nursery.start_soon(converse, session, name)


@asynccontextmanager
async def server(port: int) -> AsyncIterator[int]:
    """Serve while the block runs; the value is the port, which the system picks if `port` is 0."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, serve_session, port, host=HOST))
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
    if isinstance(error, muxpy.SessionClosed):
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
    except* (OSError, muxpy.SessionClosed) as errors:  # nothing listens there, or another program does
        problem = one_line(errors)
    sys.exit(problem)

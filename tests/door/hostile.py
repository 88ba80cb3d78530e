"""Those who come to the door and mean harm: `python -m tests.door.hostile KIND PORT COUNT [tls]`, until it is killed.

It says "ready" when all of them have connected once. Whoever is dropped comes again within a second. The kind RESETS
has logged in first, by the token in MUXPY_TOKEN.
"""

from __future__ import annotations

import os
import random
import socket
import ssl
import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from muxpy_cli.wire import pack
from tests.frame import wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["KINDS", "MIXED", "RESETS", "connects", "insecure_context"]

MIXED: Final = "all of these"
RESETS: Final = "resets"
HELLO: Final = 1
RATE: Final = 1000
"""Connects a second of `connects`."""
HELD: Final = 3000
"""Connections that `connects` keeps open."""
SPREAD: Final = 6
"""Addresses from 127.0.1.1 on, so that they have all the places that there are."""


def insecure_context() -> ssl.SSLContext:
    """For a client that does not mind who is there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def client_hello() -> bytes:
    """A whole one, which takes the server a signature to answer."""
    outgoing = ssl.MemoryBIO()
    tls = insecure_context().wrap_bio(ssl.MemoryBIO(), outgoing)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def silence(stream: trio.SocketStream, tls: bool) -> None:
    """Nothing, for as long as that is allowed."""


async def garbage(stream: trio.SocketStream, tls: bool) -> None:
    """What is neither TLS nor muxado."""
    await stream.send_all(os.urandom(200))


async def half_handshakes(stream: trio.SocketStream, tls: bool) -> None:
    """A ClientHello, and nothing after it; without TLS a frame without its end."""
    await stream.send_all(client_hello() if tls else wire.data(3, bytes(100))[:50])


async def drips(stream: trio.SocketStream, tls: bool) -> None:
    """A good beginning, byte by byte."""
    whole = client_hello() if tls else wire.syn(3, stream_type=HELLO) + wire.data(3, b"\0\xff" + b" " * 250)
    for byte in whole:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.1)


async def sessions(stream: trio.SocketStream, tls: bool) -> None:
    """Sessions whose greeting never ends, with as much beside it as they may send."""
    beside = wire.syn(5, stream_type=wire.EXTENSION) + wire.data(5, bytes(10_000))
    sent = wire.syn(3, stream_type=HELLO) + wire.data(3, b"\x10\x00" + b" " * 4000) + beside
    secure = trio.SSLStream(stream, insecure_context(), server_hostname="localhost") if tls else stream
    await secure.send_all(sent)
    while await secure.receive_some():
        pass


async def resets(stream: trio.SocketStream, tls: bool) -> None:
    """A session of a user who opens streams and resets them in turns, as fast as they are read."""
    secure = trio.SSLStream(stream, insecure_context(), server_hostname="localhost") if tls else stream
    hello = pack({"client": "", "process": os.urandom(8).hex(), "token": os.environ["MUXPY_TOKEN"]})
    await secure.send_all(wire.syn(3, stream_type=HELLO) + wire.data(3, hello))
    await secure.receive_some()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, secure)
        for first in range(5, 2**31, 400):
            pairs = (wire.syn(one, stream_type=2) + wire.rst(one, 7) for one in range(first, first + 400, 2))
            await secure.send_all(b"".join(pairs))


async def _read(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass
    raise trio.BrokenResourceError("it was ended")


KINDS: Final[dict[str, Callable[[trio.SocketStream, bool], Awaitable[None]]]] = {
    "silence": silence,
    "garbage": garbage,
    "half handshakes": half_handshakes,
    "byte by byte": drips,
    "greetings without an end": sessions,
}


class Crowd:
    """So many of a kind."""

    def __init__(self, kind: str, port: int, count: int, *, tls: bool) -> None:
        self._kinds = list(KINDS.values()) if kind == MIXED else [resets if kind == RESETS else KINDS[kind]]
        self._port, self._count, self._tls = port, count, tls
        self._came = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for number in range(self._count):
                nursery.start_soon(self._come_again, number)

    async def _come_again(self, number: int) -> None:
        first = True
        while True:
            with suppress(OSError, trio.BrokenResourceError, ExceptionGroup):
                source = f"127.0.1.{number % SPREAD + 1}"
                stream = await trio.open_tcp_stream("127.0.0.1", self._port, local_address=source)
                if first:
                    self._count_in()
                    first = False
                async with stream:
                    await self._kinds[number % len(self._kinds)](stream, self._tls)
                    while await stream.receive_some():
                        pass
            await trio.sleep(random.uniform(0, 1))

    def _count_in(self) -> None:
        self._came += 1
        if self._came == self._count:
            print("ready", flush=True)


def connects(port: int) -> None:
    """A thousand connects a second from one address, without a byte."""
    held: deque[socket.socket] = deque()
    begun, count = time.monotonic(), 0
    print("ready", flush=True)
    while True:
        while count < (time.monotonic() - begun) * RATE:
            count += 1
            one = socket.socket()
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            held.append(one)
            if len(held) > HELD:
                held.popleft().close()
        time.sleep(0.001)


if __name__ == "__main__":
    kind, port, count, *tls = sys.argv[1:]
    if kind == "connects":
        connects(int(port))
    else:
        trio.run(partial(Crowd(kind, int(port), int(count), tls=bool(tls)).run))

"""Those who come to the door and mean well: what they wait for."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

import muxpy
from muxpy_cli.wire import Purpose, pack
from tests.cli.faults.ends import tell
from tests.frame import wire

from .hostile import insecure_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Return", "echo_times", "login_times"]

MESSAGE: Final = b"64 bytes of an honest client".ljust(64, b".")
PAUSE: Final = 0.005
"""Seconds between messages of the echo."""


@asynccontextmanager
async def session_from(source: str, port: int, *, tls: bool, token: str | None = None) -> AsyncIterator[muxpy.Session]:
    """A session past its greeting."""
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=source)
    context = insecure_context() if tls else None
    async with muxpy.open_session(
        stream, client=True, ssl_context=context, server_hostname="localhost" if tls else None
    ) as session:
        await tell(session, Purpose.HELLO, {"client": source} | ({"token": token} if token else {}))
        yield session
        session.kill()


async def echo_times(port: int, target: int, seconds: float, *, tls: bool, token: str | None = None) -> list[float]:
    """Seconds for each message of 64 bytes to an echo server behind the listening end, and back."""
    times = []
    async with session_from("127.0.0.2", port, tls=tls, token=token) as session:
        stream, _ = await tell(session, Purpose.CONNECT, {"host": "127.0.0.1", "port": target})
        ends = trio.current_time() + seconds
        while trio.current_time() < ends:
            begun = trio.current_time()
            await stream.send_all(MESSAGE)
            got = 0
            while got < len(MESSAGE):
                got += len(await stream.receive_some())
            times.append(trio.current_time() - begun)
            await trio.sleep(PAUSE)
    return times


async def login_times(port: int, seconds: float, *, tls: bool) -> list[float]:
    """Seconds from connecting to the answer, for one login after the other."""
    times = []
    ends = trio.current_time() + seconds
    while trio.current_time() < ends:
        begun = trio.current_time()
        try:
            async with session_from("127.0.0.2", port, tls=tls):
                times.append(trio.current_time() - begun)
        except (OSError, trio.BrokenResourceError):
            times.append(float("inf"))
        await trio.sleep(0.05)
    return times


@dataclass
class Return:
    """Clients behind one address that come back together: bare ones, since one process has all of them."""

    port: int
    tls: bool
    count: int
    attempts: int = 0
    times: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Until all are in; `times` has the seconds of each."""
        self._begun = trio.current_time()
        self._all = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(self.count):
                nursery.start_soon(self._come, number)
            await self._all.wait()
            nursery.cancel_scope.cancel()

    async def _come(self, number: int) -> None:
        """As `muxpy connect` does: the first attempt within a second, then exponential backoff."""
        delay, least = 1.0, 0.0
        while True:
            await trio.sleep(delay * random.uniform(least, 1))
            self.attempts += 1
            try:
                await self._log_in(number)
            except (OSError, trio.BrokenResourceError):
                delay, least = min(2 * delay, 30), 0.5

    async def _log_in(self, number: int) -> None:
        plain = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with plain:
            stream = trio.SSLStream(plain, insecure_context(), server_hostname="localhost") if self.tls else plain
            hello = pack({"client": f"client {number}", "process": f"process {number}"})
            await stream.send_all(wire.syn(3, stream_type=Purpose.HELLO) + wire.data(3, hello))
            answer = b""
            while b'"user"' not in answer:
                chunk = await stream.receive_some()
                if not chunk:
                    raise trio.BrokenResourceError("dropped")
                answer += chunk
            self.times.append(trio.current_time() - self._begun)
            if len(self.times) == self.count:
                self._all.set()
            await trio.sleep_forever()

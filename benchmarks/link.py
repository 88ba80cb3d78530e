"""A long link on one machine: forwards TCP with a delay and a bandwidth in each direction.

    python -m benchmarks.link TARGET_PORT RTT RATE      seconds, bytes a second; prints {"port": N}

Each chunk gets the time at which its last byte arrives: when the line has carried it and everything before it at the
given rate, plus half the round trip. The queue before the line is bounded, as a router's buffer is; when it is full,
the link stops reading, and TCP stops the sender. The kernel's timers are good for a millisecond, in which 1 Gbit/s
carries 125 KB, so everything that is due at a wake-up goes together: the delay is up to a millisecond longer, and the
rate is exact.

The sockets' buffers are small, so that the link and not the kernel is the queue. Connecting takes no time: a
measurement begins with the first byte.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

__all__ = ["Line", "Link"]

HOST: Final = "127.0.0.1"

CHUNK: Final = 64 * 1024
"""Bytes of one read: half a millisecond at 1 Gbit/s, about as fine as the timers."""

SOCKET_BUFFER: Final = 128 * 1024
"""Each socket's buffers: a millisecond at 1 Gbit/s, or the sockets would hold back the link."""

LEAST_BUFFER: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Link:
    """A round trip in seconds and a rate in bytes a second, the same in both directions."""

    rtt: float
    rate: float

    @property
    def buffer(self) -> float:
        """Bytes that may wait for the line: a quarter of what the link holds in a round trip."""
        return max(LEAST_BUFFER, self.rate * self.rtt / 4)

    @property
    def capacity(self) -> float:
        """Bytes that may be on the line and before it. More can only wait because the receiver does not take them."""
        return self.buffer + self.rate * self.rtt / 2


class Line:
    """One direction: when bytes that are sent now arrive."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._free = 0.0  # when the line will have carried all that it was given

    def arrival(self, size: int, now: float) -> float:
        """Put `size` bytes on the line, and return when the last of them is at the other end."""
        self._free = max(self._free, now) + size / self._link.rate
        return self._free + self._link.rtt / 2

    def room(self) -> float:
        """When the buffer before the line has room again."""
        return self._free - self._link.buffer / self._link.rate


class Direction:
    """Carries the bytes of `source` to `target`, later."""

    def __init__(self, link: Link, source: trio.SocketStream, target: trio.SocketStream) -> None:
        self._link = link
        self._line = Line(link)
        self._source = source
        self._target = target
        self._carried: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._changed = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._write)

    async def _read(self) -> None:
        while True:
            while self._size > self._link.capacity:
                await self._changed.park()
            await trio.sleep_until(self._line.room())
            data = bytes(await self._source.receive_some(CHUNK))
            self._carried.append((self._line.arrival(len(data), trio.current_time()), data))
            self._size += len(data)
            self._changed.unpark_all()
            if not data:
                return

    async def _write(self) -> None:
        while True:
            while not self._carried:
                await self._changed.park()
            await trio.sleep_until(self._carried[0][0])
            data, ended = self._take_due(trio.current_time())
            if data:
                await self._target.send_all(data)
            self._size -= len(data)
            self._changed.unpark_all()
            if ended:
                await self._target.send_eof()
                return

    def _take_due(self, now: float) -> tuple[bytes, bool]:
        """What has arrived by now, and whether that was the last."""
        due = []
        while self._carried and self._carried[0][0] <= now:
            due.append(self._carried.popleft()[1])
        return b"".join(due), b"" in due


async def carry(link: Link, target_port: int, near: trio.SocketStream) -> None:
    """Carry one connection both ways until both have ended, or one has failed."""
    far = await _connect(target_port)
    async with near, far:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Direction(link, near, far).run)
                nursery.start_soon(Direction(link, far, near).run)
        except* trio.BrokenResourceError:
            pass  # closing both, on the way out, is all that a link can do about it


async def _connect(port: int) -> trio.SocketStream:
    far = trio.socket.socket()
    _shrink(far)
    await far.connect((HOST, port))
    return trio.SocketStream(far)


def _shrink(end: trio.socket.SocketType) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        end.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)


async def serve(link: Link, target_port: int) -> None:
    """Forward a free port until stdin ends."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    _shrink(listener.socket)  # the sockets it accepts inherit that
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, partial(carry, link, target_port), [listener])
        print(f'{{"port": {listener.socket.getsockname()[1]}}}', flush=True)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    target, rtt, rate = sys.argv[1:]
    trio.run(serve, Link(float(rtt), float(rate)), int(target))

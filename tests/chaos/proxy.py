"""The bad link over TCP: a proxy on 127.0.0.1 between two sessions."""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from tests.helpers.pairs import tcp_pair

from .plan import LinkPlan, Mangler

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Proxy"]

CHUNK: Final = 65536
WAITING: Final = 256 * 1024
"""Bytes that a direction keeps; then it stops reading, and TCP stops the sender."""
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time at all: closing sends a reset."""


class Proxy:
    """Two ends, each a TCP connection to the proxy, and what is between them."""

    def __init__(self, plan: LinkPlan) -> None:
        self.manglers = [Mangler(plan.there), Mangler(plan.back)]
        self._inner: tuple[trio.SocketStream, ...] = ()
        self._scope = trio.CancelScope()
        self._hard = False

    async def ends(self) -> tuple[trio.SocketStream, trio.SocketStream]:
        """The client's and the server's."""
        client, near = await tcp_pair()
        far, server = await tcp_pair()
        self._inner = (near, far)
        return client, server

    async def run(self) -> None:
        """Carry both ways until both have ended, or the link is cut."""
        near, far = self._inner
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for mangler, source, target in ((self.manglers[0], near, far), (self.manglers[1], far, near)):
                        nursery.start_soon(Direction(mangler, source, target, self.cut).run)
        finally:
            for end in self._inner:
                if self._hard:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                end.socket.close()

    def cut(self, hard: bool) -> None:
        """End both connections now; `hard` with resets."""
        self._hard = self._hard or hard
        self._scope.cancel()


class Direction:
    """Carries what `source` sends to `target`, as the mangler says."""

    def __init__(
        self, mangler: Mangler, source: trio.SocketStream, target: trio.SocketStream, cut: Callable[[bool], None]
    ) -> None:
        self._mangler = mangler
        self._source = source
        self._target = target
        self._cut = cut
        self._carried: deque[tuple[float, bytes]] = deque()  # when it is due; b"" is the end
        self._size = 0
        self._due = 0.0
        self._changed = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
        except* trio.BrokenResourceError:
            self._cut(True)  # one end is gone: the other hears of it the same way

    async def _read(self) -> None:
        while True:
            while self._size > WAITING:
                await self._changed.park()
            data = bytes(await self._source.receive_some(CHUNK))
            was_over = self._mangler.over
            for delay, piece in self._mangler.feed(data):
                self._append(trio.current_time() + delay, piece)
            if self._mangler.over and not was_over:
                self._fault()
            if not data:
                if not (was_over and self._mangler.plan.fault in ("truncate", "boundary")):
                    self._append(0.0, b"")
                return

    def _fault(self) -> None:
        fault = self._mangler.plan.fault
        if fault == "rst":
            self._cut(True)
        elif fault != "lose":
            self._append(0.0, b"")

    def _append(self, due: float, piece: bytes) -> None:
        self._due = max(self._due, due)
        self._carried.append((self._due, piece))
        self._size += len(piece)
        self._changed.unpark_all()

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
                if self._mangler.over and self._mangler.plan.fault == "eof":
                    self._cut(False)
                await self._target.send_eof()
                return

    def _take_due(self, now: float) -> tuple[bytes, bool]:
        due = []
        while self._carried and self._carried[0][0] <= now:
            due.append(self._carried.popleft()[1])
        return b"".join(due), b"" in due

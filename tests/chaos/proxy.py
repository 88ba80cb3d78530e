"""The bad link over TCP: a proxy on 127.0.0.1 between two sessions."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from tests.helpers.links import Clip
from tests.helpers.pairs import tcp_pair

from .memory import BadChannel

if TYPE_CHECKING:
    from .plan import LinkPlan

__all__ = ["Proxy"]

CHUNK: Final = 65536
WAITING: Final = 256 * 1024
"""Bytes that a direction keeps; then it stops reading, and TCP stops the sender."""
MOST: Final = 1000
"""Pieces that are joined."""
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time at all: closing sends a reset."""


class Way(BadChannel):
    """One direction. What is due together goes on together: a packet for each piece would only take long."""

    def _take(self, max_bytes: int | None) -> bytes:
        now = trio.current_time()
        parts = [super()._take(max_bytes)]
        while self._chunks and self._chunks[0][0] <= now and len(parts) < MOST:
            parts.append(super()._take(max_bytes))
        return b"".join(parts)


class Proxy:
    """Two ends, each a TCP connection to the proxy, and what is between them."""

    def __init__(self, plan: LinkPlan) -> None:
        plans = (plan.there, plan.back)
        self._ways = [Way(way, inf, partial(self._fault, number)) for number, way in enumerate(plans)]
        self.manglers = [way.mangler for way in self._ways]
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
                    for way, source, target in ((self._ways[0], near, far), (self._ways[1], far, near)):
                        nursery.start_soon(self._carry, way, source, target)
        finally:
            for end in self._inner:
                if self._hard:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                end.socket.close()

    def cut(self, hard: bool) -> None:
        """End both connections now; `hard` with resets."""
        self._hard = self._hard or hard
        self._scope.cancel()

    def _fault(self, number: int, hard: bool) -> None:
        if hard:
            self.cut(True)
        else:
            self._ways[number].clip = Clip(0)  # what is on its way comes yet

    async def _carry(self, way: Way, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_fill, way, source)
                while data := await way.receive(CHUNK):
                    await target.send_all(data)
                if way.mangler.over and way.mangler.plan.fault == "eof":
                    self.cut(False)
                await target.send_eof()
        except* trio.BrokenResourceError:
            self.cut(True)  # one end is gone: the other hears of it the same way


async def _fill(way: Way, source: trio.SocketStream) -> None:
    async for data in source:
        await way.below(WAITING)
        with suppress(trio.BrokenResourceError):  # the way has come to its end
            await way.send(data)
    way.end()

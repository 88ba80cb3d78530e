"""Transports for tests: a pair with small buffers, a pair with a delay and a rate, and a pair that can be cut."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Channel", "Clip", "PipeStream", "delayed_pair", "pipe_pair"]


class Channel:
    """One direction: bytes in order, at most `capacity` of them under way.

    `clip`, if given, is asked where the channel breaks; `delay` and `rate` hold bytes back on Trio's clock.
    """

    def __init__(
        self, capacity: float = inf, *, delay: float = 0.0, rate: float = inf, clip: Clip | None = None
    ) -> None:
        self.capacity = capacity
        self.delay = delay
        self.rate = rate
        self.clip = clip
        self.passed = 0  # bytes that were taken from the sender
        self.largest = 0  # most bytes that ever waited here
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._free_at = -inf  # when the link has sent what it was given
        self._ended = False
        self._broken = False
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(bytes(data))
        await trio.lowlevel.checkpoint()
        while view:
            self._check_writable()
            room = min(len(view), self.capacity - self._size)
            if room <= 0:
                await self._changed.park()
                continue
            count = int(room)
            self._put(bytes(view[:count]))
            view = view[count:]
        self._check_writable()

    async def below(self, size: int) -> None:
        """Wait until fewer bytes than this are under way."""
        while self._size >= size:
            await self._changed.park()

    def _check_writable(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("this end was closed")
        if self._broken or (self.clip is not None and self.clip.done):
            raise trio.BrokenResourceError("the other end is gone")

    def _put(self, data: bytes) -> None:
        if self.clip is not None:
            data = self.clip.cut(data)
        now = trio.current_time()
        self._free_at = max(self._free_at, now) + len(data) / self.rate
        self._chunks.append((self._free_at + self.delay, data))
        self.passed += len(data)
        self._size += len(data)
        self.largest = max(self.largest, self._size)
        self._changed.unpark_all()

    async def receive(self, max_bytes: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            if self._chunks:
                due, data = self._chunks[0]
                if due > trio.current_time():
                    await trio.sleep_until(due)
                    continue
                if not data:
                    self._chunks.popleft()
                    continue
                return self._take(max_bytes)
            if self.clip is not None and self.clip.done:
                if self.clip.error is not None:
                    raise self.clip.error()
                return b""
            if self._ended or self._broken:
                return b""
            await self._changed.park()

    def _take(self, max_bytes: int | None) -> bytes:
        due, data = self._chunks.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            self._chunks.appendleft((due, data[max_bytes:]))
            data = data[:max_bytes]
        self._size -= len(data)
        self._changed.unpark_all()
        return data

    def end(self) -> None:
        """The sender sends nothing more."""
        self._ended = True
        self._changed.unpark_all()

    def break_off(self) -> None:
        """The receiver is gone: what waits is lost and sending fails."""
        self._broken = True
        self._chunks.clear()
        self._size = 0
        self._changed.unpark_all()


class Clip:
    """Breaks a channel after `limit` bytes. The receiver then reads EOF, or `error`."""

    def __init__(self, limit: int, error: Callable[[], Exception] | None = None) -> None:
        self.left = limit
        self.error = error

    @property
    def done(self) -> bool:
        return self.left <= 0

    def cut(self, data: bytes) -> bytes:
        kept = data[: self.left]
        self.left -= len(kept)
        return kept


class PipeStream(trio.abc.HalfCloseableStream):
    """One end of two channels."""

    def __init__(self, outgoing: Channel, incoming: Channel) -> None:
        self.outgoing = outgoing
        self.incoming = incoming
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise trio.ClosedResourceError("this end was closed")
        await self.outgoing.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.closed:
            raise trio.ClosedResourceError("this end was closed")
        data = await self.incoming.receive(max_bytes)
        if self.closed:
            raise trio.ClosedResourceError("this end was closed")
        return data

    async def send_eof(self) -> None:
        self.outgoing.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        if not self.closed:
            self.closed = True
            self.outgoing.end()
            self.incoming.break_off()
        await trio.lowlevel.checkpoint()


def pipe_pair(there: Channel | None = None, back: Channel | None = None) -> tuple[PipeStream, PipeStream]:
    """Two ends joined by two channels; `there` leads from the first to the second."""
    there = there or Channel()
    back = back or Channel()
    return PipeStream(there, back), PipeStream(back, there)


def delayed_pair(round_trip: float, rate: float = inf) -> tuple[PipeStream, PipeStream]:
    """Two ends with `round_trip` seconds between them, each direction carrying `rate` bytes a second."""
    return pipe_pair(Channel(delay=round_trip / 2, rate=rate), Channel(delay=round_trip / 2, rate=rate))

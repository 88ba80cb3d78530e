"""What lies between two ends: a pair with small buffers, one with a delay and a rate, one that can be cut, in memory;
and a path over TCP that falls silent."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Self

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Channel", "Clip", "PipeStream", "Way", "delayed_pair", "pipe_pair"]


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


# ---- over TCP ----

BEAT = 8 + 4
"""Bytes of a heartbeat: a DATA frame, and nothing else that is as small goes over an idle session."""


class Link:
    """One connection through a Way."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.near = near
        self.far = far
        self.silent = False
        self.beat = b""
        """The last heartbeat, or answer to one, of the end that has connected."""
        self._stopped = trio.CancelScope()
        self._left_alone = trio.Event()
        """Nothing is passed on any more: what was being sent has been, or never will be."""

    async def carry(self) -> None:
        """Pass bytes on until one side ends, or it is silenced."""
        with self._stopped:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, self.near, self.far)
                nursery.start_soon(self._copy, self.far, self.near)
        self._left_alone.set()
        if not self.silent:
            self.near.socket.close()
            self.far.socket.close()

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if source is self.near and len(data) == BEAT:
                    self.beat = bytes(data)
                await sink.send_all(data)
        self._stopped.cancel()

    def silence(self) -> None:
        """Pass nothing any more; both connections stay open."""
        self.silent = True
        self._stopped.cancel()

    async def feign_life(self) -> None:
        """Go on with the heartbeats of the end that has connected."""
        await self._left_alone.wait()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self.far.send_all(self.beat)
                await trio.sleep(1)


class Way:
    """A path over TCP, from a port of its own to another, that can fall silent."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.links: list[Link] = []

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        self._nursery = nursery
        listeners = await nursery.start(partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1"))
        self.port = int(listeners[0].socket.getsockname()[1])
        return self

    async def __aexit__(self, *details: object) -> None:
        for link in self.links:
            link.near.socket.close()
            link.far.socket.close()
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(*details)  # type: ignore[arg-type]

    async def _serve(self, near: trio.SocketStream) -> None:
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self._target)
        except OSError:
            near.socket.close()
            return
        link = Link(near, far)
        self.links.append(link)
        await link.carry()
        if link.silent:
            await trio.sleep_forever()  # serve_tcp would close it

    def silence(self) -> None:
        """All links that there are pass nothing any more."""
        for link in self.links:
            link.silence()

    async def feign_life(self) -> None:
        """The same, but the listening end goes on to get heartbeats: it believes in its sessions, for any time."""
        for link in self.links:
            while not link.beat:  # noqa: ASYNC110 - another process has the event
                await trio.sleep(0.02)
            link.silence()
            self._nursery.start_soon(link.feign_life)

    def cut_near(self) -> None:
        """The end that has connected loses its links; the other end hears nothing of it."""
        self.silence()
        for link in self.links:
            link.near.socket.close()

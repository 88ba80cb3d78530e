"""One task watches many sockets: an epoll of our own inside Trio's.

Waiting for a socket with `trio.lowlevel.wait_readable` costs a system call and a pass through the scheduler each time.
Here a socket is registered once, Trio waits for the one epoll descriptor, and one task handles all sockets that became
ready, one after the other. Their data for one session goes out in one write.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ._pacing import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from ._writer import Writer

    Socket: TypeAlias = trio.socket.SocketType | socket

__all__ = ["ERROR", "READABLE", "READ_SIZE", "WRITABLE", "Poller", "Watch", "has_poller"]

has_poller: Final = hasattr(select, "epoll")

READABLE: Final = 0x001  # the numbers of epoll(7); not all systems have the names
WRITABLE: Final = 0x004
ERROR: Final = 0x008 | 0x010
"""EPOLLERR and EPOLLHUP, which epoll reports in any case."""

READ_SIZE: Final = BATCH_SIZE - 0x3FFF
"""Bytes in one read of a socket: as many full frames of muxado as go into one batch. One more frame would go into a
write of its own, which cost a fifth of the rate in bulk."""

SOCKETS_A_TURN: Final = 64
"""Sockets that are handled before other tasks get their turn."""

SPARE: Final = 8
"""Buffers that are kept for the next reads."""

_poller: trio.lowlevel.RunVar[Poller] = trio.lowlevel.RunVar("muxpy poller")


class Poller:
    """Calls back when a socket is ready. One for each Trio run: `Poller.current()`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watchers: dict[int, Callable[[int], None]] = {}
        self._corked: set[Writer] = set()
        self._in_turn = False
        self._spare: list[memoryview] = []
        self.buffer = _new_buffer()
        """READ_SIZE bytes to read into. Whoever needs them for longer than its turn calls `keep_buffer`."""

    @classmethod
    def current(cls) -> Poller:
        """This run's poller, started if need be."""
        try:
            return _poller.get()
        except LookupError:
            poller = cls()
            trio.lowlevel.spawn_system_task(poller._run, name="muxpy poller")
            _poller.set(poller)
            return poller

    def add(self, fd: int, events: int, watcher: Callable[[int], None]) -> None:
        """Call `watcher(events)`, which must not raise, each time that `fd` is ready for one of the events.

        Raises trio.BusyResourceError if `fd` is watched already.
        """
        try:
            self._epoll.register(fd, events)
        except FileExistsError:
            raise trio.BusyResourceError("another task is using this socket") from None
        self._watchers[fd] = watcher

    def change(self, fd: int, events: int) -> None:
        """Watch for these events from now on. Errors are reported in any case, even for 0."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int, watcher: Callable[[int], None]) -> None:
        """Stop watching. To be called before `fd` is closed: after that, its number may belong to another file."""
        if self._watchers.get(fd) == watcher:
            del self._watchers[fd]
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                return  # the descriptor was closed, or the run is over

    def cork(self, writer: Writer) -> None:
        """While several sockets are handled, gather what they send on one session (as TCP_CORK does)."""
        if self._in_turn and writer not in self._corked:
            self._corked.add(writer)
            writer.cork()

    def keep_buffer(self) -> memoryview:
        """The buffer, for as long as the caller needs it: the next read goes into another one."""
        kept, self.buffer = self.buffer, self._spare.pop() if self._spare else _new_buffer()
        return kept

    def give_back(self, buffer: memoryview) -> None:
        """Nobody uses a buffer any more that was kept. It is the next one: the processor's caches have it."""
        if len(self._spare) < SPARE:
            self._spare.append(self.buffer)
        self.buffer = buffer

    async def _run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._turn()
        finally:
            self._epoll.close()

    def _turn(self) -> None:
        ready = self._epoll.poll(0, SOCKETS_A_TURN)
        self._in_turn = len(ready) > 1
        for fd, events in ready:
            watcher = self._watchers.get(fd)
            if watcher is not None:  # otherwise an earlier watcher of this turn has removed it
                watcher(events)
        self._in_turn = False
        for writer in self._corked:
            writer.uncork()
        self._corked.clear()


def _new_buffer() -> memoryview:
    return memoryview(bytearray(READ_SIZE))


class Watch:
    """One socket, and the events that are watched for. It keeps the callback only until `end`, since the callback's
    owner refers to it too: a reference cycle."""

    __slots__ = ("_fd", "_fileno", "_on_ready", "_registered", "events", "poller", "socket")

    def __init__(self, socket: Socket) -> None:
        self.poller = Poller.current()
        self.socket = socket
        self.events = 0
        """The events that are watched for; errors are reported in any case."""
        self._on_ready: Callable[[int], None] | None = None
        self._fileno = socket.fileno
        self._fd = self._fileno()
        self._registered = False

    def fd(self) -> int:
        """The descriptor. Raises trio.ClosedResourceError if the socket was closed: the number may be another file's by
        now."""
        if self._fileno() < 0:
            raise trio.ClosedResourceError("the socket was closed")
        return self._fd

    def begin(self, events: int, on_ready: Callable[[int], None]) -> None:
        """Watch for these events. Raises trio.BusyResourceError if the socket is watched already."""
        self.poller.add(self.fd(), events, on_ready)
        self.events = events
        self._on_ready = on_ready
        self._registered = True

    def change(self, events: int) -> None:
        """Watch for these events from now on."""
        if events == self.events:
            return
        fd = self.fd()
        self.events = events
        if self._registered:
            self.poller.change(fd, events)
        elif self._on_ready is not None:
            self.begin(events, self._on_ready)

    def pause(self) -> None:
        """Stop watching, until `change` asks for events again."""
        if self._registered and self._on_ready is not None:
            self.poller.remove(self._fd, self._on_ready)
            self._registered = False

    def end(self) -> None:
        """Stop watching, and drop the callback."""
        self.pause()
        self._on_ready = None

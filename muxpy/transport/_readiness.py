"""Waiting for sockets, so that when all become readable together, only some are acted on in one pass of the scheduler
(no thundering herd).

When a network fails, or this process was held up, thousands of sockets become readable together, and Trio wakes the
tasks of all of them in the same pass: no other task runs until each has read. So only a few tasks wait by Trio's own
means; the sockets of the others are in an epoll inside Trio's, from which a few are taken in each pass.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Final

import trio

__all__ = ["AT_ONCE", "Readiness"]

AT_ONCE: Final = 32
"""Tasks that wait by Trio's own means, and as many of the others that go on in one pass. The end of a session takes
half a millisecond with all that follows from it, in several passes: so a pass stays at some ten milliseconds."""

has_epoll: Final = hasattr(select, "epoll")
READABLE: Final = 0x001  # its number in epoll(7); not all systems have the name


class Readiness:
    """Says when a socket can be read. One for each Trio run: `Readiness.current()`."""

    def __init__(self) -> None:
        self._direct = 0
        self._epoll: select.epoll | None = None
        self._waiting: dict[int, trio.lowlevel.Task] = {}

    @classmethod
    def current(cls) -> Readiness:
        """This run's `Readiness`."""
        try:
            return _readiness.get()
        except LookupError:
            _readiness.set(readiness := cls())
            return readiness

    async def wait_readable(self, fd: int) -> None:
        """Wait until `fd` has something to read, its end, or an error. `fd` must stay open meanwhile, or the wait may
        last until it is cancelled. Raises trio.BusyResourceError if another task waits for `fd`."""
        if self._direct >= AT_ONCE and has_epoll:
            await self._in_turn(fd)
            return
        # As long as there are few sessions, this is all: no further pass and no further system call.
        self._direct += 1
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            self._direct -= 1

    def interrupt(self, fd: int) -> None:
        """End the wait for `fd`, if a task waits for it: that returns, or raises trio.ClosedResourceError. The caller
        knows that it was interrupted."""
        task = self._waiting.pop(fd, None)
        if task is None:
            trio.lowlevel.notify_closing(fd)
        elif self._epoll is not None:
            self._epoll.unregister(fd)
            trio.lowlevel.reschedule(task)

    async def _in_turn(self, fd: int) -> None:
        if self._epoll is None:
            self._epoll = select.epoll()
            trio.lowlevel.spawn_system_task(self._run, self._epoll, name="muxpy readiness")
        epoll = self._epoll
        try:
            epoll.register(fd, READABLE)
        except FileExistsError:
            raise trio.BusyResourceError("another task is reading this socket") from None

        def abort(_: object) -> trio.lowlevel.Abort:
            if self._waiting.get(fd) is task:  # otherwise `fd` was closed, and is the number of another socket by now
                del self._waiting[fd]
                with suppress(OSError, ValueError):  # the descriptor was closed, or the run is over
                    epoll.unregister(fd)
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[fd] = task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _run(self, epoll: select.epoll) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for fd, _ in epoll.poll(0, AT_ONCE):
                    epoll.unregister(fd)
                    task = self._waiting.pop(fd, None)
                    if task is not None:  # otherwise it is a copy of a socket that was closed under its reader
                        trio.lowlevel.reschedule(task)
        finally:
            epoll.close()


_readiness: trio.lowlevel.RunVar[Readiness] = trio.lowlevel.RunVar("muxpy readiness")

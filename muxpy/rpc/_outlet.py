"""Messages of many tasks out on one stream: each at once while the stream takes them, in line otherwise, and together
where many come at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ._wire import MAX_SMALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy import Stream

__all__ = ["MANY", "Outlet"]

MANY: Final = 8
"""Messages received together, from which on those that answer them are worth waiting for: two passes of Trio's
scheduler, and then there is one frame for dozens of them."""


class Outlet:
    """Sends small messages without waiting. How many may stand in line is bounded by the calls that are allowed.

    `start_soon` runs a task that sends what stands in line, when the stream cannot take a message immediately. An error
    of the stream is not reported here: whoever reads from it gets it too.
    """

    __slots__ = ("_ending", "_line", "_sending", "_start_soon", "_stream", "_under_way", "held")

    def __init__(self, stream: Stream, start_soon: Callable[[Callable[[], Awaitable[None]]], object]) -> None:
        self._stream = stream
        self._start_soon = start_soon
        self._line: list[bytes] = []
        self._under_way = 0  # messages that the task sends
        self._sending = False  # a task sends, and all that is new goes into the line
        self._ending = False
        self.held = False
        """Whether all that is new waits in the line for `gather`."""

    @property
    def waiting(self) -> int:
        """The messages that the other side has yet to make room for."""
        return len(self._line) + self._under_way

    def send(self, message: bytes) -> None:
        """Send this after what was given before."""
        if not self._sending and not self.held:
            try:
                self._stream.send_nowait(message)
            except trio.WouldBlock:
                self._start()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            else:
                return
        self._line.append(message)

    def hold(self) -> None:
        """Many tasks have just been woken: keep what they give. `gather` must follow."""
        self.held = True

    async def gather(self) -> None:
        """Wait until all tasks have run that were woken, and send together what they have given."""
        self.held = True
        try:
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()  # Trio shuffles the tasks of a pass: now all have run
        finally:
            self.held = False
            self._send_together()

    def _send_together(self) -> None:
        while self._line and not self._sending:
            together = self._first()
            try:
                self._stream.send_nowait(b"".join(together))
            except trio.WouldBlock:
                self._start()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._line.clear()
            else:
                del self._line[: len(together)]

    def _first(self) -> list[bytes]:
        """So many of the line as a stream takes without waiting, and one at least."""
        size = 0
        for place, message in enumerate(self._line):
            size += len(message)
            if size > MAX_SMALL and place:
                return self._line[:place]
        return self._line

    def end(self) -> None:
        """End the direction after what was given before; nothing is given after that."""
        self._ending = True
        if not self._sending:
            self._start()

    def _start(self) -> None:
        self._sending = True
        self._start_soon(self._send_line)

    async def _send_line(self) -> None:
        try:
            while self._line:
                data, self._under_way = b"".join(self._line), len(self._line)
                self._line.clear()
                await self._stream.send_all(data)
            if self._ending:
                await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._line.clear()
        finally:
            self._under_way = 0
            self._sending = False

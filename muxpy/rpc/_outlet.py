"""Messages of many tasks out on one stream, each at once while the stream takes them, and in line otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy import Stream

__all__ = ["Outlet"]


class Outlet:
    """Sends small messages without waiting. How many may stand in line is bounded by the calls that are allowed.

    `start_soon` runs a task that sends what stands in line, when the stream cannot take a message immediately. An error
    of the stream is not reported here: whoever reads from it gets it too.
    """

    __slots__ = ("_ending", "_line", "_sending", "_start_soon", "_stream", "_under_way")

    def __init__(self, stream: Stream, start_soon: Callable[[Callable[[], Awaitable[None]]], object]) -> None:
        self._stream = stream
        self._start_soon = start_soon
        self._line: list[bytes] = []
        self._under_way = 0  # messages that the task sends
        self._sending = False  # a task sends, and all that is new goes into the line
        self._ending = False

    @property
    def waiting(self) -> int:
        """The messages that the other side has yet to make room for."""
        return len(self._line) + self._under_way

    def send(self, message: bytes) -> None:
        """Send this after what was given before."""
        if not self._sending:
            try:
                self._stream.send_nowait(message)
            except trio.WouldBlock:
                self._start()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            else:
                return
        self._line.append(message)

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

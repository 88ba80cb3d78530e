"""Writing to a file descriptor that may block, from a thread, so that the event loop never waits for it.

Besides lines, which stay, there can be a frame: text that is always at the bottom, and is redrawn when it changes or
lines appear above it. The thread composes both, because only the thread knows what really reached the terminal: a frame
that could not be written is replaced by the next one, and the cursor moves are still right.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_WAITING", "BackgroundWriter"]

MAX_WAITING: Final = 1000
"""Lines that may wait for a slow reader. Further ones are dropped, and counted."""
FLUSH_LIMIT: Final = 1.0
"""Seconds at the end for the lines that still wait."""

_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"  # at the end of each write: however the process ends, the cursor is there
_HOME: Final = "\x1b[H"
_ERASE_LINE: Final = "\x1b[2K"
_ERASE_BELOW: Final = "\x1b[J"


class BackgroundWriter:
    """Writes lines in order. If the reader has gone (a broken pipe), it ends quietly."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._waiting: deque[str] = deque()
        self._frame: tuple[str, ...] = ()
        self._on_screen: tuple[str, ...] = ()  # the frame that was written last; only the thread uses it
        self._size: os.terminal_size | None = None  # of the terminal, when the last frame was written
        self._redraw = False
        self._dropped = 0
        self._closed = False
        self._broken = False
        self._writing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def stuck(self) -> bool:
        """Whether the last frame has not been written yet, so that drawing another is of no use."""
        return self._redraw

    def put(self, line: str) -> None:
        """Queue a line (or several) with its line end; never waits."""
        with self._changed:
            if self._broken or self._closed:
                return
            if len(self._waiting) >= MAX_WAITING:
                self._dropped += 1
                return
            self._tell_dropped()
            self._waiting.append(line)
            self._changed.notify_all()

    def show(self, frame: Sequence[str]) -> None:
        """Draw these lines (without line ends) below all others, in place of the last frame. Empty: remove it."""
        with self._changed:
            if self._broken or self._closed:
                return
            self._frame, self._redraw = tuple(frame), True
            self._changed.notify_all()

    def flush(self, limit: float = FLUSH_LIMIT) -> None:
        """Wait until all is written, or for `limit` seconds."""
        with self._changed:
            self._changed.wait_for(self._idle, limit)

    def close(self) -> None:
        """Accept no more lines, remove the frame, and give the waiting lines a short time."""
        deadline = time.monotonic() + FLUSH_LIMIT
        with self._changed:
            self._tell_dropped()
            self._frame, self._redraw = (), not self._broken
            self._closed = True
            self._changed.notify_all()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _idle(self) -> bool:
        return self._broken or not (self._waiting or self._redraw or self._writing)

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._waiting.append(f"({self._dropped:,} lines were dropped)\n")
            self._dropped = 0

    def _run(self) -> None:
        try:
            while (text := self._next()) is not None:
                self._write(text.encode(self._encoding, "replace"))
        except OSError:
            with self._changed:
                self._broken, self._redraw = True, False
                self._waiting.clear()
                self._changed.notify_all()

    def _next(self) -> str | None:
        """All that is to be written now; None at the end."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not (self._waiting or self._redraw or self._closed):
                self._changed.wait()
            if not (self._waiting or self._redraw):
                return None
            lines, frame = "".join(self._waiting), self._frame
            self._waiting.clear()
            self._redraw, self._writing = False, True
        return self._compose(lines, frame)

    def _compose(self, lines: str, frame: tuple[str, ...]) -> str:
        if not frame and not self._on_screen:
            return lines
        # After a resize, where the old frame is depends on how the terminal has moved its rows: start afresh.
        anew = self._resized() and self._on_screen
        start = f"{_HOME}{_ERASE_BELOW}" if anew else self._to_frame(lines)
        drawn = "".join(f"{_ERASE_LINE}{line}\n" for line in frame)
        self._on_screen = frame
        return f"{_HIDE_CURSOR}{start}{lines}{drawn}{_ERASE_BELOW}{_SHOW_CURSOR}"

    def _to_frame(self, lines: str) -> str:
        """Back to where the frame begins."""
        up = len(self._on_screen)
        # New lines may be wider than the terminal and cover rows of the old frame only in part, so the frame is erased
        # first. Without new lines each row is erased just before it is written, which does not flicker.
        return "\r" + (f"\x1b[{up}A" if up else "") + (_ERASE_BELOW if lines else "")

    def _resized(self) -> bool:
        """Whether the terminal has another size than the last time."""
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return False
        before, self._size = self._size, size
        return before is not None and before != size

    def _write(self, data: bytes) -> None:
        # Not through sys.stdout: a thread that is stuck in there would keep the interpreter from ending.
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])

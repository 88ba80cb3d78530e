"""Writing to a file descriptor that may block, from a thread, so that an event loop never waits for it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from typing import Final

__all__ = ["BackgroundWriter"]

MAX_WAITING: Final = 1000
"""Lines that wait while nobody reads. What does not fit is dropped, and counted."""
FLUSH_LIMIT: Final = 1.0
"""Seconds at the end for what still waits."""


class BackgroundWriter:
    """Writes lines in their order. If nobody reads any more (a broken pipe), it ends quietly."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._closed = False
        self._broken = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Have a line written some time; never waits."""
        with self._changed:
            if self._broken or self._closed:
                return
            if len(self._waiting) >= MAX_WAITING:
                self._dropped += 1
                return
            self._tell_dropped()
            self._waiting.append(line)
            self._changed.notify()

    def close(self) -> None:
        """Take no more lines, and give those that wait a short time."""
        deadline = time.monotonic() + FLUSH_LIMIT
        with self._changed:
            self._tell_dropped()
            self._closed = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._waiting.append(f"({self._dropped:,} lines were dropped)\n")
            self._dropped = 0

    def _run(self) -> None:
        try:
            while (line := self._next()) is not None:
                self._write(line.encode(self._encoding, "replace"))
        except OSError:
            with self._changed:
                self._broken = True
                self._waiting.clear()

    def _next(self) -> str | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _write(self, data: bytes) -> None:
        # Not through sys.stdout: a thread that is stuck in there would keep the interpreter from ending.
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])

"""A limit on lines a second, with a count of those that were not shown."""

from __future__ import annotations

import time

__all__ = ["LineLimit"]


class LineLimit:
    """So many lines a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0.0
        self._count = 0

    def take(self) -> tuple[bool, int]:
        """Whether another line may be shown, and how many were not shown before it."""
        now = time.monotonic()
        hidden = 0
        if now - self._second >= 1:
            hidden = max(0, self._count - self._most)
            self._second, self._count = now, 0
        self._count += 1
        return self._count <= self._most, hidden

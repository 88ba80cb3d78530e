"""A token bucket."""

from __future__ import annotations

import trio

__all__ = ["Bucket"]


class Bucket:
    """Lets `size` things happen at once, and `rate` more each second."""

    __slots__ = ("_left", "_rate", "_since", "_size")

    def __init__(self, size: float, rate: float) -> None:
        self._size = self._left = size
        self._rate = rate
        self._since = trio.current_time()

    async def take(self) -> None:
        """One thing happens; wait until it may."""
        now = trio.current_time()
        self._left = min(self._size, self._left + (now - self._since) * self._rate) - 1
        self._since = now
        if self._left < 0:
            await trio.sleep(-self._left / self._rate)

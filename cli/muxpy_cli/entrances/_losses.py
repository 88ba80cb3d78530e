"""What was lost, told in few lines however much it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Losses"]

INTERVAL: Final = 60.0
"""Seconds between lines about the same: a sender that is told nothing goes on, at any rate."""

MAX_REASONS: Final = 16
"""Different ones that are told in an interval. A reason may contain what a peer has made up."""


class Losses:
    """Counts errors by what they say. The first is told immediately, further ones once in an INTERVAL, with their
    number."""

    def __init__(self, tell: Callable[[BaseException, int], None]) -> None:
        """`tell(error, times)` is called for each reason."""
        self._tell = tell
        self._waiting: dict[str, tuple[BaseException, int]] = {}
        self._some = trio.Event()

    def add(self, error: BaseException) -> None:
        """One more was lost."""
        reason = str(error)
        if reason not in self._waiting and len(self._waiting) >= MAX_REASONS:
            reason = next(iter(self._waiting))
        first, times = self._waiting.get(reason, (error, 0))
        self._waiting[reason] = first, times + 1
        self._some.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        try:
            while True:
                await self._some.wait()
                self._tell_all()
                await trio.sleep(INTERVAL)
        finally:
            self._tell_all()

    def _tell_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._some = trio.Event()
        for error, times in waiting.values():
            self._tell(error, times)

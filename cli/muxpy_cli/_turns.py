"""Long work in the event loop, cut so that nobody waits for all of it."""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["Turns"]

SLICE: Final = 32
"""Pieces of work before the other tasks get their turn. A piece is ten microseconds (a session told to a view) to a
hundred (one that is ended), and its consequences in the following passes are as much again: a pass stays below ten
milliseconds, and the passes themselves cost little beside the work."""


class Turns:
    """Counts pieces of work, and gives the other tasks a turn after each SLICE of them.

    What is walked through must be a copy, or nothing that others change.
    """

    def __init__(self) -> None:
        self._done = 0

    async def done(self) -> None:
        """A piece of work is done. Most calls return immediately."""
        self._done += 1
        if self._done % SLICE == 0:
            await trio.lowlevel.checkpoint()

"""Long work in the event loop, cut so that nobody waits for all of it."""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["ENDING", "Turns"]

SLICE: Final = 32
"""Pieces of work before the other tasks get their turn. A piece is some ten microseconds, such as a session told to a
view: a pass stays below a few milliseconds, and the passes themselves cost little beside the work."""

ENDING: Final = 8
"""Pieces that a session is which is ended: over all tasks that this sets off it takes half a millisecond and more, and
they all have their next step in the same pass."""


class Turns:
    """Counts pieces of work, and gives the other tasks a turn after each SLICE of them.

    What is walked through must be a copy, or nothing that others change.
    """

    def __init__(self) -> None:
        self._done = 0

    async def done(self, pieces: int = 1) -> None:
        """A piece of work is done, or several. Most calls return immediately."""
        self._done += pieces
        if self._done >= SLICE:
            self._done = 0
            await trio.lowlevel.checkpoint()

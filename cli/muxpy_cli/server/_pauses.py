"""Nothing makes the event loop pause for long, however many sessions there are: long work is cut into slices, and
Python's cycle collector is kept from looking at all of them (`_garbage`). `python -m tests.cli.scale` measures the
longest pass of the event loop with 10,000 sessions.

Logins, new connections and endings look things up (`_peers`, `_bindings`). What must look at every session is cut: a
reload, a snapshot, a graceful shutdown, the watch for idle connections.
"""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["ENDING", "SLICE", "Slices"]

SLICE: Final = 32
"""Pieces of work before the other tasks get their turn. A piece is some ten microseconds, such as a session told to a
view: a pass stays below a few milliseconds, and the passes themselves cost little beside the work."""

ENDING: Final = 8
"""Pieces that a session is which is ended: over all tasks that this sets off it takes half a millisecond and more, and
they all have their next step in the same pass."""


class Slices:
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

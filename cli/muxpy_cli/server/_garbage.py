"""Short pauses of Python's cycle collector, however many sessions there are.

A full collection looks at every object there is, four hundred for each session: with ten thousand sessions it stops
everything for two seconds. By itself it comes each time that their number has grown by a quarter, and hardly finds
anything among objects that live as long as a session.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["Garbage"]

ENOUGH: Final = 2000
"""Ended sessions that may be left in memory in any case, 15 KB each."""

COLLECTIONS: Final = 4
"""Collections of younger objects before a full one, and not ten: 30,000 objects are new by then, which takes 20 ms."""


class Garbage:
    """While it is entered, full collections leave out what has survived one.

    What is left of ended sessions is collected when it is as much as those that live. So memory has a bound, and the
    time for it is in proportion to what happens.
    """

    def __init__(self) -> None:
        self._ended = 0
        self._before = gc.get_threshold()

    def __enter__(self) -> Self:
        gc.callbacks.append(self._on_collection)
        gc.set_threshold(*self._before[:2], COLLECTIONS)
        return self

    def __exit__(self, *_: object) -> None:
        gc.set_threshold(*self._before)
        gc.callbacks.remove(self._on_collection)
        gc.unfreeze()

    def session_ended(self, living: int) -> None:
        """One more has ended; so many live."""
        self._ended += 1
        if self._ended > living + ENOUGH:
            self._ended = 0
            gc.unfreeze()
            gc.collect()

    def _on_collection(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()

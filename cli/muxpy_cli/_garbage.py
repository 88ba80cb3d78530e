"""Python's cycle collector, kept from pausing the event loop for long.

A full collection looks at every object there is, four hundred for each session of a listening end, and stops everything
meanwhile: a second with ten thousand sessions, each time that there are a quarter more objects. Already what a program
has imported takes 20 ms and more, in which each new connection waits. It finds nothing among objects that live as long
as a session: what ends here is freed without the collector.

And while many sessions end, the collector does not come at all. It counts new objects less those that were freed, old
ones too, so that what the end of one session frees hides what the end of the next one makes: a quarter of a million
young objects, looked at in one go when it comes after all. So it is called meanwhile, by the clock.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

__all__ = ["Garbage"]

YOUNG: Final = 2_500
"""New objects, less those that were freed, before a collection, and not 700: fifty connections that come and go are as
many, and each time that these are more by 700 than a moment ago a collection would find nothing. That was a thirtieth
of the work for a new connection. A collection of so many takes about a millisecond."""

COLLECTIONS: Final = 1
"""Collections of the youngest objects before one of younger ones, and of those before a full one, and not ten: some
15,000 objects are new by then, which takes 10 to 20 ms. It costs no more in all: each object is looked at one time
before it is left out."""

FEW: Final = 5_000
"""Objects that a full collection may look at, every time: that takes about 2 ms."""

INTERVAL: Final = 0.02
"""Seconds from one collection to the next while many sessions end: what is new by then is looked at in a millisecond or
two. At other times that would be a tenth of all work, for nothing."""

FULL: Final = 4
"""Of so many of those collections one is full. The others leave out what has survived two of them."""

MANY: Final = 8
"""Sessions that end within an INTERVAL."""

WHILE: Final = 10.0
"""Seconds after that: the sessions that have begun to end have ended by then."""


class Garbage(trio.abc.Instrument):
    """While it is entered, full collections leave out what there was before, and what has survived one as soon as that
    is more than FEW objects.

    Those objects are still freed when nobody refers to them. Only circles of them would stay, and no session leaves
    any: tests/cli/test_server_freed.py and tests/session/test_freed.py see to it.
    """

    _before: ClassVar[tuple[int, int, int]]
    _entered: ClassVar = 0
    """How many are: the collector is the process's. The first one changes it, and the last one puts it back."""

    def __init__(self) -> None:
        self._ending = 0  # sessions, in this interval
        self._until = self._last = time.perf_counter()
        self._collections = 0

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._on_collection)
        if not Garbage._entered:
            Garbage._before = gc.get_threshold()
            gc.set_threshold(YOUNG, COLLECTIONS, COLLECTIONS)
        Garbage._entered += 1
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._on_collection)
        Garbage._entered -= 1
        if not Garbage._entered:
            gc.set_threshold(*Garbage._before)
            gc.unfreeze()
        with suppress(KeyError):  # Trio has removed it, if it ever failed
            trio.lowlevel.remove_instrument(self)

    def session_ends(self) -> None:
        """One begins to end, or has ended."""
        self._ending += 1

    def before_io_wait(self, timeout: float) -> None:
        """After each pass of the event loop: collect, if it is time."""
        now = time.perf_counter()
        if now - self._last < INTERVAL:
            return
        self._last = now
        if self._ending >= MANY:
            self._until = now + WHILE
        self._ending = 0
        if now < self._until:
            self._collections += 1
            gc.collect(1 if self._collections % FULL else 2)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No collection while the block runs, and those that come after it leave out what it has made: ten thousand
        users are so many objects that the very next one would take a tenth of a second."""
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            gc.enable()

    def _on_collection(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2 and len(gc.get_objects(2)) > FEW:
            gc.freeze()

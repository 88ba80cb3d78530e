"""Short pauses of Python's cycle collector, however many sessions there are.

A full collection looks at every object there is, four hundred for each session, and stops everything meanwhile. By
itself it comes each time that their number has grown by a quarter, and finds nothing among objects that live as long as
a session: what ends here is freed without the collector.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

__all__ = ["Garbage"]

COLLECTIONS: Final = 1
"""Collections of younger objects before a full one, and not ten: some 15,000 objects are new by then, which takes 10 to
20 ms. It costs no more in all: each object is looked at once before it is left out."""


class Garbage:
    """While it is entered, full collections leave out what has survived one.

    Those objects are still freed when nobody refers to them. Only circles of them would stay, and no session leaves
    any: tests/cli/test_server_freed.py and tests/session/test_freed.py see to it.
    """

    def __init__(self) -> None:
        self._before = gc.get_threshold()

    def __enter__(self) -> Self:
        gc.callbacks.append(self._on_collection)
        gc.set_threshold(*self._before[:2], COLLECTIONS)
        return self

    def __exit__(self, *_: object) -> None:
        gc.set_threshold(*self._before)
        gc.callbacks.remove(self._on_collection)
        gc.unfreeze()

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
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()

"""Memory, traced."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["peak"]


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most memory that was traced in the block, over what there was before."""
    figures: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield figures
        figures.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()

"""What happens in one pass of Trio's scheduler, counted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Passes", "counting_passes"]


class Passes(trio.abc.Instrument):
    """The most by which `count` rose in one step of a task, and in one pass, and the most tasks that ran in a pass."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._at_step = self._at_pass = count()
        self._tasks = 0
        self.most_a_step = 0
        self.most_a_pass = 0
        self.most_tasks = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._at_step = self._count()
        self._tasks += 1

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.most_a_step = max(self.most_a_step, self._count() - self._at_step)

    def before_io_wait(self, timeout: float) -> None:
        self.most_a_pass = max(self.most_a_pass, self._count() - self._at_pass)
        self.most_tasks = max(self.most_tasks, self._tasks)
        self._at_pass = self._count()
        self._tasks = 0


@contextmanager
def counting_passes(count: Callable[[], int]) -> Iterator[Passes]:
    """Count while the block runs."""
    passes = Passes(count)
    trio.lowlevel.add_instrument(passes)
    try:
        yield passes
    finally:
        trio.lowlevel.remove_instrument(passes)

"""What happens in one pass of Trio's scheduler, counted or timed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Passes", "Turns", "counting_passes", "timing_turns"]


Measure = TypeVar("Measure", bound=trio.abc.Instrument)


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


class Turns(trio.abc.Instrument):
    """The longest step of a task and the longest pass, in seconds of this thread's processor time."""

    def __init__(self) -> None:
        self._step = self._pass = time.thread_time()
        self.longest_step = 0.0
        self.longest_pass = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest_step = max(self.longest_step, time.thread_time() - self._step)

    def after_io_wait(self, timeout: float) -> None:
        self._pass = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        self.longest_pass = max(self.longest_pass, time.thread_time() - self._pass)


@contextmanager
def counting_passes(count: Callable[[], int]) -> Iterator[Passes]:
    """Count while the block runs."""
    with _added(Passes(count)) as passes:
        yield passes


@contextmanager
def timing_turns() -> Iterator[Turns]:
    """Time while the block runs."""
    with _added(Turns()) as turns:
        yield turns


@contextmanager
def _added(instrument: Measure) -> Iterator[Measure]:
    trio.lowlevel.add_instrument(instrument)
    try:
        yield instrument
    finally:
        trio.lowlevel.remove_instrument(instrument)

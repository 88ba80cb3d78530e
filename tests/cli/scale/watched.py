"""`python -m tests.cli.scale.watched FILE ...` is `muxpy ...` that notes in FILE each long pass of its event loop: when
it ended (`time.monotonic`), the milliseconds that it took by the clock and of the processor, and those of the processor
that its longest step took."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TextIO

import trio

from muxpy_cli import main

LONG = 0.002
"""Seconds of a pass that is worth a line."""


class Passes(trio.abc.Instrument):
    """Measures from the end of one wait for the system to the beginning of the next: in between all tasks that can run
    do, once each: each of these is a step, and what none of them has is the scheduler's."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun = (time.perf_counter(), time.thread_time())
        self._step = 0.0
        self._longest = 0.0

    def after_io_wait(self, timeout: float) -> None:
        self._begun = (time.perf_counter(), time.thread_time())
        self._longest = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._longest = max(self._longest, time.thread_time() - self._step)

    def before_io_wait(self, timeout: float) -> None:
        took, used = time.perf_counter() - self._begun[0], time.thread_time() - self._begun[1]
        if took >= LONG:
            self._file.write(f"{time.monotonic()} {took * 1000} {used * 1000} {self._longest * 1000}\n")
            self._file.flush()


def watch(file: Path) -> None:
    """Have `trio.run` watched from now on."""
    vars(trio)["run"] = partial(trio.run, instruments=[Passes(file.open("a"))])


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    main()

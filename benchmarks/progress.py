"""The progress of a run: a bar on a terminal; elsewhere only the results, each as soon as it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from .report import line_texts, measure_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console

    from .model import Entry, Measure
    from .outcome import Outcome

__all__ = ["Progress"]


class Progress:
    def __init__(self, console: Console, runs: int) -> None:
        self._console = console
        self._bar = Bar(
            *(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._started = 0
        self._task = self._bar.add_task("", total=runs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def on_start(self, measure: Measure) -> Callable[[Entry], None]:
        """A function to call when an entry's run starts."""

        def show(entry: Entry) -> None:
            self._bar.update(self._task, description=f"{measure.name}: {entry.name}", completed=self._started)
            self._started += 1

        return show

    def show(self, outcome: Outcome) -> None:
        """Print the results of a measure."""
        if self._console.is_terminal:
            self._console.print(measure_view(outcome))
        else:
            for line in line_texts(outcome):
                self._console.print(line)

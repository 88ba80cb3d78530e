"""The display while it runs, and the table of results."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich import box
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ..view import format_count, format_rate, format_rtt, format_size
from ._plan import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

    from ..view import Console
    from ._plan import Progress, Step
    from ._results import BenchResult, Latency, Throughput

__all__ = ["BenchDisplay", "result_table"]

WIDTH_WITH_BAR: Final = 80
"""Columns for a whole line with its bar."""


class BenchDisplay:
    """Shows the progress: bars on a terminal, elsewhere a line for each finished step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._tasks: dict[Step, TaskID] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show bars during the block, if there is a terminal; they go away at the end."""
        if not self._console.live:
            yield
            return
        columns: list[ProgressColumn] = [TextColumn("{task.description:<28}"), BarColumn(bar_width=24)]
        if self._console.rich.width < WIDTH_WITH_BAR:
            del columns[1]
        columns.append(TextColumn("{task.fields[rate]:>24}", style="cyan"))
        with Bars(*columns, console=self._console.rich, transient=True) as self._bars:
            yield
        self._bars = None

    def show(self, progress: Progress) -> None:
        """Show this progress."""
        rate = step_rate(progress.step, progress.rate)
        if self._bars is not None:
            self._show_bar(self._bars, progress, rate)
        elif progress.finished:
            self._console.line(f"{progress.step}: {rate}")

    def _show_bar(self, bars: Bars, progress: Progress, rate: str) -> None:
        task = self._tasks.get(progress.step)
        if task is None:
            task = self._tasks[progress.step] = bars.add_task(str(progress.step), total=1.0, rate="")
        bars.update(task, completed=progress.share, rate=rate)


def step_rate(step: Step, rate: float | None) -> str:
    """The rate with its unit."""
    unit = UNITS[step.measure]
    return _byte_rate(rate) if unit == "bytes" else _count_rate(rate, f" {unit}")


def _byte_rate(rate: float | None) -> str:
    return "-" if rate is None else f"{format_rate(rate)}/s"


def _count_rate(rate: float | None, unit: str = "") -> str:
    return "-" if rate is None else f"{format_count(round(rate))}{unit}/s"


def result_table(result: BenchResult) -> Table:
    """All results, as a table of less than 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in ("rate", "p50", "p99", "max", "moved"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, figures in (("download", result.download), ("upload", result.upload)):
        for figure in figures:
            table.add_row(*_throughput(name, figure))
    for name, latency in (("latency", result.latency), ("latency under load", result.loaded_latency)):
        if latency is not None:
            table.add_row(*_latency(name, latency))
    if (opens := result.opens) is not None:
        rate = _count_rate(opens.rate)
        table.add_row(f"{opens.at_once} parallel stream opens", rate, "", "", "", format_count(opens.streams))
    return table


def _throughput(name: str, figure: Throughput) -> tuple[str, ...]:
    streams = f"{figure.streams} stream{'s' if figure.streams > 1 else ''}"
    return f"{name}, {streams}", _byte_rate(figure.rate), "", "", "", format_size(figure.bytes)


def _latency(name: str, figure: Latency) -> tuple[str, ...]:
    times = (format_rtt(seconds) for seconds in (figure.p50, figure.p99, figure.max))
    return name, _count_rate(figure.rate), *times, format_count(figure.round_trips)

"""The demo's display and its tables."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich import box
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table

from ..view import format_rtt, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import muxpy

    from ..view import Console
    from ._load import TrafficCount

__all__ = ["Traffic", "TrafficDisplay", "print_tables"]

FULL_WIDTH: Final = 96
"""Columns for all of a progress line."""
WIDTH_WITHOUT_BAR: Final = 66

INITIAL_WINDOW: Final = 64 * 1024


@dataclass(slots=True)
class Traffic:
    """One kind of traffic and its measurements. `unit` is "B" for bytes or "requests"."""

    name: str
    total: int
    unit: str
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def rate(self, done: int, seconds: float) -> str:
        """The rate, for people."""
        per_second = done / max(seconds, 1e-9)
        return f"{format_size(per_second)}/s" if self.unit == "B" else f"{per_second:,.0f}/s"

    def amount(self, done: int) -> str:
        """The amount, for people."""
        return format_size(done) if self.unit == "B" else f"{done:,}"


class TrafficDisplay:
    """Shows the progress of a phase: a bar on a terminal, elsewhere a line when it is over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show progress bars during the block, if there is a terminal."""
        if not self._console.rich.is_terminal:
            yield
            return
        name, rate = TextColumn("{task.description:<28}"), TextColumn("{task.fields[rate]:>12}", style="cyan")
        columns: list[ProgressColumn] = [name, BarColumn(bar_width=30), TextColumn("{task.fields[amount]:>21}"), rate]
        width = self._console.rich.width
        if width < FULL_WIDTH:
            del columns[1]
        if width < WIDTH_WITHOUT_BAR:
            columns = [TextColumn("{task.description}"), rate]
        with Progress(*columns, console=self._console.rich) as self._progress:
            yield

    @contextmanager
    def phase(self, phase: Traffic, meter: TrafficCount) -> Iterator[Callable[[], None]]:
        """Measure the block's time; yields a function that updates the display."""
        progress = self._progress
        task = progress.add_task(phase.name, total=phase.total, amount="", rate="") if progress is not None else None
        started = time.perf_counter()

        def show() -> None:
            if progress is not None and task is not None:
                amount = f"{phase.amount(meter.done)} of {phase.amount(phase.total)}"
                rate = phase.rate(meter.done, time.perf_counter() - started)
                progress.update(task, completed=meter.done, amount=amount, rate=rate)

        yield show
        phase.seconds = time.perf_counter() - started
        show()
        if progress is None:
            self._console.line(f"{phase.name}: {phase.amount(phase.total)}, {phase.rate(phase.total, phase.seconds)}")


def print_tables(
    console: Console, phases: list[Traffic], connecting: muxpy.SessionStatistics, listening: muxpy.SessionStatistics
) -> None:
    """The traffic and its rates, and the session's statistics."""
    traffic = _table("Traffic through the forwarded port", header=True)
    traffic.add_column(no_wrap=True)
    for name in ("amount", "time", "rate", "p50 / p90 / p99"):
        traffic.add_column(name, justify="right", no_wrap=True)
    for phase in phases:
        traffic.add_row(
            phase.name,
            phase.amount(phase.total),
            f"{phase.seconds:.2f} s",
            phase.rate(phase.total, phase.seconds),
            _percentiles(sorted(phase.latencies)),
        )
    session = _table("The session, from its connecting end", header=False)
    session.add_column()
    session.add_column(justify="right")
    for row in _session_rows(connecting, listening):
        session.add_row(*row)
    for table in (traffic, session):
        console.line("")
        console.show(table)
    console.line("")


def _table(title: str, header: bool) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=header, pad_edge=False)
    table.box = box.SIMPLE_HEAD if header else box.SIMPLE
    table.collapse_padding, table.show_edge = True, False  # or the wider one would be cut off at 80 columns
    table.min_width = 50  # or a long title would be broken
    return table


def _session_rows(connecting: muxpy.SessionStatistics, listening: muxpy.SessionStatistics) -> list[tuple[str, str]]:
    sent, received = format_size(connecting.bytes_sent), format_size(connecting.bytes_received)
    return [
        ("streams opened", f"{connecting.streams_opened:,}"),
        ("frames sent / received", f"{connecting.frames_sent:,} / {connecting.frames_received:,}"),
        ("bytes sent / received", f"{sent} / {received}"),
        ("system calls to write / read", f"{connecting.writes:,} / {connecting.reads:,}"),
        ("round trip", format_rtt(connecting.rtt)),
        ("largest window, down", _window(connecting.largest_window)),
        ("largest window, up", _window(listening.largest_window)),
    ]


def _window(largest: int) -> str:
    """What it grew to; the library counts it only once it grows."""
    return f"{format_size(INITIAL_WINDOW)} -> {format_size(max(INITIAL_WINDOW, largest))}"


def _percentiles(times: list[float]) -> str:
    """Of sorted seconds, in milliseconds."""
    if not times:
        return ""
    chosen = (times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.9, 0.99))
    return " / ".join(f"{seconds * 1000:.1f}" for seconds in chosen) + " ms"

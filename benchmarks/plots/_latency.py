"""Median and 99th percentile of an echo, alone and beside bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

from ._style import MUXPY, WIDTH, colour, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.outcome import Outcome

__all__ = ["latency_dots"]

LINES: Final = (
    ("muxpy, alone", "idle_", MUXPY),
    ("muxpy, beside bulk of its session", "", MUXPY),
    ("own TCP connection, beside that bulk", "tcp_", colour("tcp")),
)


def latency_dots(outcomes: Sequence[Outcome]) -> Figure:
    """A line from the median to the 99th percentile, for each case."""
    (outcome,) = outcomes
    entry = outcome.subject
    figure = Figure(figsize=(WIDTH, 2.2))
    axes = figure.subplots()
    for row, (_, prefix, shade) in enumerate(LINES):
        times = [(outcome.median(entry, f"{prefix}{key}") or 0) * 1000 for key in ("p50", "p99")]
        axes.plot(times, [row, row], color=shade, marker="o", linewidth=2)
        text = f"{times[0]:.2f} / {times[1]:.2f} ms"
        axes.annotate(text, (times[1], row), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(LINES)), [label for label, _, _ in LINES])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(LINES) - 0.5, -0.5)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.35)  # room for the last text
    axes.set_xlabel("milliseconds: median and 99th percentile")
    tidy(axes, "A 100 B echo every 2 ms")
    return figure

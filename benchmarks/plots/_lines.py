"""Curves: a figure over the number of streams, and how a stream fills a long link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from benchmarks.measures import GIGABIT
from benchmarks.units import show

from ._style import INK, MUXPY, WIDTH, colour, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from benchmarks.outcome import Outcome

__all__ = ["link_lines", "many_line"]


def many_line(outcomes: Sequence[Outcome]) -> Figure:
    """Echoes a second over the number of open streams."""
    (outcome,) = outcomes
    points = {
        int(entry.name.split()[0].replace(",", "")): outcome.median(entry.name, "rate")
        for entry in outcome.measure.entries
    }
    counts = [count for count, rate in points.items() if rate is not None]
    rates = [rate for rate in points.values() if rate is not None]
    figure = Figure(figsize=(WIDTH, 3))
    axes = figure.subplots()
    axes.plot(counts, rates, color=MUXPY, marker="o", linewidth=2)
    for count, rate in zip(counts, rates, strict=True):
        axes.annotate(show(rate, "/s"), (count, rate), (0, 9), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.set_ylim(0, max(rates) * 1.25)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("open streams; at most 100 of them echo")
    tidy(axes, "100 B echoes, with more and more idle streams beside them")
    return figure


def link_lines(outcomes: Sequence[Outcome]) -> Figure:
    """What the receiver gets in each round trip, on each link."""
    rows = (len(outcomes) + 1) // 2
    figure = Figure(figsize=(WIDTH, 0.6 + 2.1 * rows))
    figure.suptitle("One stream over 1 Gbit/s, as the receiver sees it", x=0.01, ha="left", fontsize=13)
    panels = figure.subplots(rows, 2 if len(outcomes) > 1 else 1, sharex=True, sharey=True, squeeze=False)
    for axes, outcome in zip(panels.flat, outcomes, strict=False):
        _link_panel(axes, outcome)
    for axes in panels.flat[len(outcomes) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("round trips since the first byte")
    for axes in panels[:, 0]:
        axes.set_ylabel("MB/s")
    return figure


def _link_panel(axes: Axes, outcome: Outcome) -> None:
    interval = outcome.measure.entries[0].job["interval"]
    for entry in reversed(outcome.measure.entries):  # muxpy last, on top
        samples = outcome.samples.get(entry.name)
        if samples:
            rates = [count / interval / 1e6 for count in samples[0]["intervals"][:-1]][:SHOWN]
            axes.step(range(len(rates)), rates, where="post", color=colour(entry.name), linewidth=2)
            _label(axes, entry.name, rates)
    axes.axvline(10, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, SHOWN)
    axes.set_ylim(0, GIGABIT / 1e6 * 1.3)
    tidy(axes, f"round trip {interval * 1000:.0f} ms")


SHOWN = 24
"""Round trips in a panel: enough to see that the rate holds, few enough to see it climb."""


def _label(axes: Axes, entry: str, rates: Sequence[float]) -> None:
    """The name at the line: tcp's above it, muxpy's below, whatever crawls above the bottom."""
    below = entry == "muxpy"
    axes.annotate(
        entry,
        (len(rates) - 1, rates[-1]),
        (0, -6 if below else 5),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=colour(entry),
        fontweight="bold" if below else "normal",
    )

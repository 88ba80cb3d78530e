"""Horizontal bars, a panel for each measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

from benchmarks.units import show

from ._style import MUXPY, WIDTH, colour, tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from benchmarks.outcome import Outcome

__all__ = ["bar_panels"]


MOST_IN_A_ROW: Final = 3
"""Panels that are still wide enough for their labels."""


def bar_panels(title: str) -> Callable[[Sequence[Outcome]], Figure]:
    """A plot of the first figure of some measures, side by side; in two columns if there are many."""

    def plot(outcomes: Sequence[Outcome]) -> Figure:
        names = list(dict.fromkeys(entry.name for outcome in outcomes for entry in outcome.measure.entries))
        names = [name for name in names if any(name in outcome.samples for outcome in outcomes)]
        columns = len(outcomes) if len(outcomes) <= MOST_IN_A_ROW else 2
        lines = -(-len(outcomes) // columns)
        figure = Figure(figsize=(WIDTH, 0.4 + lines * (0.35 + 0.3 * len(names))))
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False).flat
        for axes in panels[len(outcomes) :]:
            axes.set_visible(False)
        for axes, outcome in zip(panels, outcomes, strict=False):
            _bars(axes, outcome, names)
            tidy(axes, _what_differs(outcome) if len(outcomes) > 1 else "")
        return figure

    return plot


def _what_differs(outcome: Outcome) -> str:
    name = outcome.measure.name
    return name.partition(": ")[2] or name.rpartition(", ")[2]


def _bars(axes: Axes, outcome: Outcome, names: Sequence[str]) -> None:
    shown = outcome.measure.figures[0]
    values = [outcome.median(name, shown.key) for name in names]
    bars = axes.barh(range(len(names)), [value or 0 for value in values], color=[colour(name) for name in names])
    axes.bar_label(bars, [show(value, shown.unit) if value else "-" for value in values], padding=4)
    axes.set_xlim(0, max(value or 0 for value in values) * 1.55)  # room for the labels
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    for label in axes.get_yticklabels():
        if colour(label.get_text()) == MUXPY:
            label.set_fontweight("bold")

"""The curves of a run: memory, tasks, descriptors and streams a second, of both ends, over time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure

from benchmarks.plots._style import INK, MUXPY, WIDTH, save, style, tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["draw"]

COLOURS: Final = {"server": MUXPY, "client": "#e69f00"}

Samples = list[dict[str, Any]]


def draw(result: Mapping[str, Any], path: Path) -> Path:
    """Write the plot of a run's samples."""
    with style():
        figure = Figure(figsize=(WIDTH, 7.6))
        figure.suptitle(_title(result), x=0.01, ha="left", fontsize=13)
        panels = figure.subplots(4, 1, sharex=True)
        for axes, (title, values) in zip(panels, PANELS.items(), strict=True):
            for role, samples in result["samples"].items():
                _curve(axes, role, [each["time"] for each in samples], values(samples))
            axes.set_ylim(bottom=0)
            axes.margins(x=0.01)
            tidy(axes, title)
        _rests(panels[0], result["rests"])
        panels[0].set_ylim(top=panels[0].get_ylim()[1] * 1.25)  # room for the names
        panels[0].legend(loc="upper right", ncols=3, frameon=False)
        panels[-1].set_xlabel("seconds")
        return save(figure, path)


def _title(result: Mapping[str, Any]) -> str:
    done = result["samples"]["client"][-1]["done"]
    return f"{done:,} streams in {result['settings']['seconds'] / 60:.3g} minutes"


def _curve(axes: Axes, role: str, times: list[float], values: list[float]) -> None:
    axes.plot(times, values, color=COLOURS[role], linewidth=1.2, label=role)


def _rests(axes: Axes, rests: Mapping[str, Samples]) -> None:
    for index, each in enumerate(rests.values()):
        label = "at rest" if not index else None
        times, sizes = [rest["time"] for rest in each], [rest["rss"] / 1e6 for rest in each]
        axes.plot(times, sizes, color=INK, marker="o", markersize=3, linewidth=0, label=label)


def _figure(name: str, unit: float = 1.0) -> Callable[[Samples], list[float]]:
    return lambda samples: [each[name] / unit for each in samples]


def _rate(samples: Samples) -> list[float]:
    """Streams that ended in each second."""
    rates = [0.0]
    for before, now in pairwise(samples):
        rates.append((now["done"] - before["done"]) / max(now["time"] - before["time"], 1e-3))
    return rates


PANELS: Final[Mapping[str, Callable[[Samples], list[float]]]] = {
    "Memory (RSS), MB": _figure("rss", 1e6),
    "Trio tasks; the peaks are as many streams at once as a session takes": _figure("tasks"),
    "Open descriptors": _figure("descriptors"),
    "Streams a second": _rate,
}

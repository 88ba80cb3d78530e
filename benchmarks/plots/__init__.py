"""Plots of a run, as SVG for the documentation: the same figures give the same files, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from matplotlib.figure import Figure

from benchmarks.outcome import Outcome

from ._bars import bar_panels
from ._latency import latency_dots
from ._lines import link_lines, many_line
from ._style import save, style

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PLOTS", "draw"]

Plot: TypeAlias = Callable[[Sequence[Outcome]], Figure]

PLOTS: Final[Mapping[str, tuple[str, str, Plot]]] = {
    "bulk": ("bulk", "bulk, 64 KiB", bar_panels("Bulk, one way, 64 KiB writes")),
    "echo": ("echo", "", bar_panels("100 B echoes")),
    "open": ("open", "", bar_panels("Open, echo 100 B, close: 100 in parallel")),
    "tls": ("tls", "TLS: bulk", bar_panels("Bulk over TLS 1.3")),
    "many": ("many", "", many_line),
    "link": ("link", "", link_lines),
    "latency": ("latency", "", latency_dots),
    "tunnel": ("tunnel", "iperf3: ", bar_panels("Bulk through a tunnel: iperf3")),
    "http": ("http", "HTTP/2 server: ", bar_panels("HTTP/2 servers, for a second of their processor time")),
    "rpc": ("rpc", "", bar_panels("Calls of 100 B, and messages of as many")),
    "requests": ("tunnel", "wrk: ", bar_panels("HTTP through a tunnel: wrk and nginx")),
}
"""For each file: the group of the measures, what their names contain, and what draws them."""


def draw(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw what the outcomes have figures for; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with style():
        for name, (group, part, plot) in PLOTS.items():
            chosen = [outcome for outcome in outcomes if _is_of(outcome, group, part) and outcome.samples]
            if chosen:
                paths.append(save(plot(chosen), folder / f"{name}.svg"))
    return paths


def _is_of(outcome: Outcome, group: str, part: str) -> bool:
    return outcome.measure.group == group and part in outcome.measure.name

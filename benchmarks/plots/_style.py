"""How all plots look."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "MUXPY", "WIDTH", "colour", "save", "style", "tidy"]

WIDTH: Final = 7.3
"""Inches: 700 pixels at 96 to the inch, so that text has its nominal size where the plot is shown that wide."""

INK: Final = "#333333"

# Okabe and Ito's palette, which the colour-blind can tell apart; every line and bar carries its name as well.
MUXPY: Final = "#0072b2"
_PLAIN: Final = "#8a8a8a"
_SSH: Final = "#cc79a7"
_MIXED: Final = "#009e73"  # Python on a core in another language
_COLOURS: Final = {
    **dict.fromkeys(("tcp", "trio-ssl", "none", "nghttpd"), _PLAIN),
    **dict.fromkeys(("ssh", "asyncssh", "hypercorn", "hypercorn-trio", "grpclib", "rpyc"), _SSH),
    **dict.fromkeys(("granian", "h2corn", "uvicorn", "grpcio-aio", "grpcio-sync", "pycapnp", "zmq"), _MIXED),
    "go": "#e69f00",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in this style."""
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "muxpy",
            "font.family": "sans-serif",
            "font.size": 11,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#999999",
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": INK,
            "ytick.color": INK,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "figure.constrained_layout.use": True,
        }
    ):
        yield


def colour(entry: str) -> str:
    """An entry's colour: muxpy's own, and one for each kind of reference."""
    return _COLOURS.get("go" if entry.startswith("go-") else entry, MUXPY)


def tidy(axes: Axes, title: str) -> None:
    """A panel's title, at the left where reading begins."""
    axes.set_title(title, loc="left")
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> Path:
    """Write the file, without a date, and without the blanks that matplotlib leaves at line ends."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    lines = (line.rstrip() for line in path.read_text().splitlines())
    path.write_text("\n".join(lines) + "\n")
    return path

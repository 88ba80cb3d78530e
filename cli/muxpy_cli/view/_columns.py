"""The columns of the tables: which there are, in which order they are dropped where it is narrow, and their lines.

Not rich's Table: it narrows all columns where these are dropped by rank, it has no line across all columns for a note
below a row, and it needs 130 ms for a frame of 250 rows, during which no connection is served; this needs 10. The cells
are rich's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from ..specs import excerpt
from ._format import format_count, format_duration, format_rate, format_rtt, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._snapshot import ForwardState, SessionState, Speed

__all__ = ["Column", "forward_columns", "grid_lines", "session_columns", "shortened"]

GAP: Final = 2
"""Blank columns between two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its title and a cell for each row."""

    title: str
    cells: Sequence[str]
    rank: int = 0
    """Where it is narrow, columns are dropped by descending rank, those of one rank together. 0: always kept."""
    least: int | None = None
    """Its text may be shortened to this many cells. None: never."""
    room: int = 0
    """Its minimum width, so that columns do not jump when numbers change."""
    right: bool = False
    style: str = ""
    styles: Sequence[str] = field(default=())
    """The style of each cell, if they differ."""

    @property
    def natural(self) -> int:
        """Its width if nothing is shortened."""
        return max(self.room, cell_len(self.title), *map(cell_len, self.cells), 0)

    @property
    def smallest(self) -> int:
        """Its width if all is shortened that may be."""
        return self.natural if self.least is None else min(self.natural, max(self.least, cell_len(self.title)))

    def cell(self, row: int, width: int) -> Text:
        """A row's cell, of exactly this width."""
        return self._fitted(self.cells[row], width, self.styles[row] if self.styles else self.style)

    def head(self, width: int) -> Text:
        """The title, of exactly this width."""
        return self._fitted(self.title, width, "bold")

    def _fitted(self, text: str, width: int, style: str) -> Text:
        fitted = shortened(text, width, style)
        pad = fitted.pad_left if self.right else fitted.pad_right
        pad(width - fitted.cell_len)
        return fitted


def grid_lines(columns: Sequence[Column], width: int) -> list[Text]:
    """The head and the rows, none wider than `width`."""
    kept = _fit(columns, width)
    gap = " " * GAP
    lines = [Text(gap, style="bold").join(column.head(room) for column, room in kept)]
    rows = range(len(columns[0].cells))
    lines += [Text(gap).join(column.cell(row, room) for column, room in kept) for row in rows]
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines


def _fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    kept = list(columns)
    while _needed(kept) > width:
        rank = max(column.rank for column in kept)
        if not rank:
            break
        kept = [column for column in kept if column.rank != rank]
    widths = _widths(kept, width - _needed(kept))
    return list(zip(kept, widths, strict=True))


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.smallest + GAP for column in columns) - GAP


def _widths(columns: Sequence[Column], spare: int) -> list[int]:
    """Spare cells go to the columns that would be shortened, in equal parts as far as each needs them."""
    widths = [column.smallest for column in columns]
    wanting = sorted(range(len(columns)), key=lambda index: columns[index].natural - widths[index])
    for done, index in enumerate(wanting):
        given = min(columns[index].natural - widths[index], max(0, spare) // (len(wanting) - done))
        widths[index] += given
        spare -= given
    return widths


def shortened(text: str, width: int, style: str = "") -> Text:
    """The text, or as much of it as fits with an ellipsis."""
    line = Text(text, style=style)
    line.truncate(width, overflow="ellipsis")
    return line


# ---- the columns of sessions and of forwards ----

_SIZE_ROOM: Final = 8
"""Cells of "1023 KiB"."""
_STYLES: Final = {
    "connected": "green",
    "bound": "green",
    "connecting": "yellow",
    "waiting": "yellow",
    "draining": "cyan",
    "failed": "red",
}


def session_columns(sessions: Sequence[SessionState], rates: Sequence[Speed] | None, at: float) -> list[Column]:
    """For these rows; `rates` has one for each."""
    ages = ["-" if session.since is None else format_duration(at - session.since) for session in sessions]
    columns = [
        Column(title="session", cells=[excerpt(session.peer) for session in sessions], least=21),
        *_users([session.user for session in sessions], rank=4),
        _states([session.state for session in sessions]),
        Column(title="up", cells=ages, rank=3, room=6, right=True),
        _counts("streams", [session.streams for session in sessions], rank=2),
        Column(title="rtt", cells=[format_rtt(session.rtt) for session in sessions], rank=5, room=7, right=True),
        *_rates(rates),
        *_sizes(sessions, rank=6),
    ]
    return columns


def forward_columns(forwards: Sequence[ForwardState], rates: Sequence[Speed] | None, role: str) -> list[Column]:
    """For these rows of an end with that role; `rates` has one for each."""
    return [
        *_names(forwards),
        Column(title="forward", cells=[excerpt(_route(forward)) for forward in forwards], least=23),
        Column(
            title="kind", cells=[excerpt(forward.kind) for forward in forwards], rank=6
        ),  # which the route shows as well
        Column(title="bound", cells=[_where(forward, role) for forward in forwards], rank=2),
        *_users([forward.user for forward in forwards], rank=7),
        _states([forward.state for forward in forwards]),
        _counts("open", [forward.connections for forward in forwards]),
        _counts("total", [forward.total for forward in forwards], rank=2),
        _counts("failed", [forward.failed for forward in forwards], rank=3, style="yellow"),
        *_rates(rates),
        *_sizes(forwards, rank=8),
    ]


def _route(forward: ForwardState) -> str:
    protocol = "/udp" if forward.kind == "udp" and not forward.bind.endswith("/udp") else ""
    return f"{forward.bind}{protocol} -> {forward.target or forward.kind}"


def _where(forward: ForwardState, role: str) -> str:
    """At which end it is bound, seen from this one."""
    return "here" if (forward.direction == "remote") == (role == "listen") else "there"


def _names(forwards: Sequence[ForwardState]) -> list[Column]:
    """No column if no forward has a name of its own: the others are named after their route, which comes next."""
    names = [excerpt(forward.name) if " -> " not in forward.name else "" for forward in forwards]
    return [Column(title="name", cells=names, least=8, rank=9)] if any(names) else []


def _users(users: Sequence[str | None], rank: int) -> list[Column]:
    if not any(users):
        return []
    return [Column(title="user", cells=[excerpt(user or "-") for user in users], least=6, rank=rank)]


def _states(states: Sequence[str]) -> Column:
    styles = [_STYLES.get(state, "") for state in states]
    return Column(title="state", cells=[excerpt(state) for state in states], styles=styles)


def _counts(title: str, counts: Sequence[int], rank: int = 0, style: str = "") -> Column:
    styles = [style if count else "" for count in counts]
    return Column(title=title, cells=list(map(format_count, counts)), rank=rank, right=True, styles=styles)


def _rates(rates: Sequence[Speed] | None) -> list[Column]:
    if rates is None:
        return []
    received, sent = [format_rate(rate.received) for rate in rates], [format_rate(rate.sent) for rate in rates]
    return [_bytes("in/s", received, rank=1, style="cyan"), _bytes("out/s", sent, rank=1, style="cyan")]


def _sizes(states: Sequence[SessionState] | Sequence[ForwardState], rank: int) -> list[Column]:
    received, sent = [format_size(state.received) for state in states], [format_size(state.sent) for state in states]
    return [_bytes("in", received, rank), _bytes("out", sent, rank)]


def _bytes(title: str, cells: Sequence[str], rank: int, style: str = "") -> Column:
    return Column(title=title, cells=cells, rank=rank, room=_SIZE_ROOM, right=True, style=style)

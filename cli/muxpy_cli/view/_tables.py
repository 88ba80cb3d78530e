"""The state of a process as lines of text: for the live display as many as fit, for `muxpy status` all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.text import Text

from ..specs import excerpt
from ._columns import forward_columns, grid_lines, session_columns, shortened
from ._format import format_count, format_duration, format_rate, format_size, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from ._columns import Column
    from ._snapshot import ForwardState, Rates, SessionState, Snapshot, Speed, Totals

__all__ = ["draw", "status_tables"]

EVENTS: Final = 8
"""Events that `muxpy status` shows."""
UNLIMITED: Final = 10_000
"""Columns without a terminal: nothing is left out then."""
_GOOD: Final = {"connected", "bound"}


def status_tables(snapshot: Snapshot) -> RenderableType:
    """The whole snapshot, for a terminal of any width; without a terminal with all columns in full."""
    return _Status(snapshot)


@dataclass(frozen=True, slots=True)
class _Status:
    snapshot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width if console.is_terminal else UNLIMITED
        yield from draw(self.snapshot, width)
        if self.snapshot.events:
            yield Text()
        for event in self.snapshot.events[-EVENTS:]:
            style = {"warning": "yellow", "error": "red"}.get(event.level, "")
            yield Text.assemble((format_time(event.at) + " ", "dim"), (excerpt(event.text), style))


def draw(snapshot: Snapshot, width: int, height: int | None = None, rates: Rates | None = None) -> list[Text]:
    """At most `height` lines of at most `width` columns. None: all rows, however many. With `rates`, they are shown."""
    lines = [_headline(snapshot, width)]
    foot = [Text(), *_totals(snapshot, width, rates)]
    if not snapshot.sessions:
        lines += [Text(), Text("no sessions", style="dim")]
    tables = [table for table in (_sessions(snapshot, rates), _forwards(snapshot, rates)) if table.states]
    needs = [table.rows for table in tables]
    if height is not None:
        needs = _shares(needs, height - len(lines) - len(foot) - 2 * len(tables))  # each has a blank line and a head
    for table, rows in zip(tables, needs, strict=True):
        lines += [Text(), *table.lines(width, rows)]
    return [*lines, *foot][:height]


def _shares(needs: list[int], room: int) -> list[int]:
    """Each table gets what it needs up to its share; what one does not use, the others get."""
    shares = [0] * len(needs)
    order = sorted(range(len(needs)), key=needs.__getitem__)
    for done, index in enumerate(order):
        shares[index] = max(1, min(needs[index], room // (len(order) - done)))
        room -= shares[index]
    return shares


def _headline(snapshot: Snapshot, width: int) -> Text:
    state = "draining" if snapshot.draining else "ready" if snapshot.ready else "not ready"
    line = Text.assemble(
        (f"muxpy {excerpt(snapshot.role)} ", "bold"),
        excerpt(snapshot.address),
        "  ",
        (state, "bold green" if state == "ready" else "bold yellow"),
        f"  up {format_duration(snapshot.at - snapshot.started)}",
        (f"  pid {snapshot.pid}  version {excerpt(snapshot.version)}", "dim"),
    )
    line.truncate(width, overflow="ellipsis")
    return line


@dataclass(frozen=True, slots=True)
class _Table:
    """A table before it is known how many of its rows fit."""

    states: Sequence[SessionState | ForwardState]
    columns: Callable[[int], list[Column]]
    """For the given number of rows."""
    unlisted: Counter[str]
    """How many are not listed, by their state."""

    @property
    def rows(self) -> int:
        """Lines for all of it, without the head."""
        return len(self.states) + sum(map(_has_note, self.states)) + bool(self.unlisted)

    def lines(self, width: int, rows: int) -> list[Text]:
        """The head and `rows` lines. If not all fit, the notes go first."""
        hidden: Sequence[SessionState | ForwardState] = ()
        shown = self.states
        if len(shown) + bool(self.unlisted) > rows:
            shown, hidden = shown[: rows - 1], shown[rows - 1 :]
        head, *lines = grid_lines(self.columns(len(shown)), width)
        if self.rows <= rows:
            lines = [line for state, row in zip(shown, lines, strict=True) for line in (row, *_note(state, width))]
        return [head, *lines, *_more(self.unlisted + Counter(state.state for state in hidden), width)]


def _sessions(snapshot: Snapshot, rates: Rates | None) -> _Table:
    def columns(count: int) -> list[Column]:
        return session_columns(snapshot.sessions[:count], rates.sessions(count) if rates else None, snapshot.at)

    more = snapshot.unlisted
    unlisted = Counter(connected=more.sessions - more.draining, draining=more.draining)
    return _Table(snapshot.sessions, columns, +unlisted)  # without empty states


def _forwards(snapshot: Snapshot, rates: Rates | None) -> _Table:
    def columns(count: int) -> list[Column]:
        return forward_columns(snapshot.forwards[:count], rates.forwards(count) if rates else None, snapshot.role)

    return _Table(snapshot.forwards, columns, +Counter(bound=snapshot.unlisted.forwards))


def _has_note(state: SessionState | ForwardState) -> bool:
    return bool(state.error) and state.state not in _GOOD


def _note(state: SessionState | ForwardState, width: int) -> list[Text]:
    """Why it does not work."""
    if not _has_note(state):
        return []
    attempts = getattr(state, "attempts", 0)
    times = f" ({_counted(attempts, 'attempt', 's')})" if attempts > 1 else ""
    return [shortened(f"  {excerpt(state.error or '')}{times}", width, "yellow")]


def _more(hidden: Counter[str], width: int) -> list[Text]:
    """How many are not shown, and how many of those do not work."""
    if not hidden:
        return []
    others = sorted((state, count) for state, count in hidden.items() if state not in _GOOD)
    which = ", ".join(f"{format_count(count)} {excerpt(state)}" for state, count in others)
    text = f"  and {format_count(hidden.total())} more" + (f" ({which})" if which else "")
    return [shortened(text, width, "dim")]


def _totals(snapshot: Snapshot, width: int, rates: Rates | None) -> list[Text]:
    """Wrapped over as many lines as needed."""
    lines = [""]
    for part in _total_parts(snapshot.totals, rates.totals() if rates else None):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(joined) < width:
            lines[-1] = joined
        else:
            lines[-1] += ","
            lines.append(part)
    return [shortened(line, width, "bold") for line in lines]


def _total_parts(totals: Totals, rate: Speed | None) -> list[str]:
    received, sent = f"in {format_size(totals.received)}", f"out {format_size(totals.sent)}"
    if rate is not None:
        received += f" ({format_rate(rate.received)}/s)"
        sent += f" ({format_rate(rate.sent)}/s)"
    parts = [f"total: {_counted(totals.connections, 'connection', 's')}", received, sent]
    counts = [
        (totals.sessions, "session", "s"),
        (totals.reconnects, "reconnect", "s"),
        (totals.failed, "failed", ""),
        (totals.refused, "refused", ""),
        (totals.auth_failures, "failed login", "s"),
    ]
    return parts + [_counted(*count) for count in counts if count[0]]


def _counted(count: int, what: str, plural: str) -> str:
    return f"{format_count(count)} {what}{plural if count != 1 else ''}"

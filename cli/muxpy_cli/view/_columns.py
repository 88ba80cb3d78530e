"""The columns of the tables, and in which order they give way where it is narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._format import format_count, format_duration, format_rate, format_rtt, format_size, printable
from ._grid import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._display import Rate
    from ._snapshot import ForwardState, SessionState

__all__ = ["forward_columns", "session_columns"]

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


def session_columns(sessions: Sequence[SessionState], rates: Sequence[Rate] | None, at: float) -> list[Column]:
    """For these rows; `rates` has one for each."""
    ages = ["-" if session.since is None else format_duration(at - session.since) for session in sessions]
    columns = [
        Column(title="session", cells=[printable(session.peer) for session in sessions], least=21),
        *_users([session.user for session in sessions], rank=4),
        _states([session.state for session in sessions]),
        Column(title="up", cells=ages, rank=3, room=6, right=True),
        _counts("streams", [session.streams for session in sessions], rank=2),
        Column(title="rtt", cells=[format_rtt(session.rtt) for session in sessions], rank=5, room=7, right=True),
        *_rates(rates),
        *_sizes(sessions, rank=6),
    ]
    return columns


def forward_columns(forwards: Sequence[ForwardState], rates: Sequence[Rate] | None, role: str) -> list[Column]:
    """For these rows of an end with that role; `rates` has one for each."""
    return [
        *_names(forwards),
        Column(title="forward", cells=[printable(_route(forward)) for forward in forwards], least=23),
        Column(
            title="kind", cells=[printable(forward.kind) for forward in forwards], rank=6
        ),  # the route shows it, too
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
    """At which end it is bound, for somebody at this one."""
    return "here" if (forward.direction == "remote") == (role == "listen") else "there"


def _names(forwards: Sequence[ForwardState]) -> list[Column]:
    """Nothing if no forward has a name of its own: others are called by what the next column says."""
    names = [printable(forward.name) if " -> " not in forward.name else "" for forward in forwards]
    return [Column(title="name", cells=names, least=8, rank=9)] if any(names) else []


def _users(users: Sequence[str | None], rank: int) -> list[Column]:
    if not any(users):
        return []
    return [Column(title="user", cells=[printable(user or "-") for user in users], least=6, rank=rank)]


def _states(states: Sequence[str]) -> Column:
    styles = [_STYLES.get(state, "") for state in states]
    return Column(title="state", cells=[printable(state) for state in states], styles=styles)


def _counts(title: str, counts: Sequence[int], rank: int = 0, style: str = "") -> Column:
    styles = [style if count else "" for count in counts]
    return Column(title=title, cells=list(map(format_count, counts)), rank=rank, right=True, styles=styles)


def _rates(rates: Sequence[Rate] | None) -> list[Column]:
    if rates is None:
        return []
    received, sent = [format_rate(rate.received) for rate in rates], [format_rate(rate.sent) for rate in rates]
    return [_bytes("in/s", received, rank=1, style="cyan"), _bytes("out/s", sent, rank=1, style="cyan")]


def _sizes(states: Sequence[SessionState] | Sequence[ForwardState], rank: int) -> list[Column]:
    received, sent = [format_size(state.received) for state in states], [format_size(state.sent) for state in states]
    return [_bytes("in", received, rank), _bytes("out", sent, rank)]


def _bytes(title: str, cells: Sequence[str], rank: int, style: str = "") -> Column:
    return Column(title=title, cells=cells, rank=rank, room=_SIZE_ROOM, right=True, style=style)

"""What the soak shows: a line while it runs, a table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from .run import ROLES
from .verdict import MEMORY, growth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .run import Record

__all__ = ["figures_of", "live_line", "summary"]


def live_line(record: Record) -> str:
    """Where it is, and what both ends hold now; less than 90 characters."""
    parts = [f"{record.now:.0f} s, round {record.round}/{record.settings.rounds}"]
    samples = [record.samples[role] for role in ROLES]
    if all(samples):
        parts.append(f"{samples[1][-1]['done']:,} streams, {rate(samples[1], 'done'):,.0f}/s")
        held = [
            f"{role} {each[-1]['rss'] / 1e6:.0f}/{each[-1]['tasks']}/{each[-1]['descriptors']}"
            for role, each in zip(ROLES, samples, strict=True)
        ]
        parts.append(f"MB/tasks/fds: {', '.join(held)}")
    return " | ".join(parts)


def rate(samples: list[dict[str, Any]], figure: str) -> float:
    """How much a counter grew in each of the last seconds."""
    first, last = samples[max(len(samples) - 4, 0)], samples[-1]
    elapsed = last["time"] - first["time"]
    return (last[figure] - first[figure]) / elapsed if elapsed else 0.0


def figures_of(record: Record) -> dict[str, list[str]]:
    """The figures of both ends, by name: the first rest, the middle or the most, and the last."""
    columns = [_figures(record, role) for role in ROLES]
    return {name: [column.get(name, "-") for column in columns] for name in columns[0]}


def summary(record: Record, figures: Mapping[str, Sequence[str]]) -> Table:
    """The figures of both ends, one beside the other."""
    title = f"{record.now:.0f} s, {record.round} rounds, seed {record.settings.seed}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for role in ROLES:
        table.add_column(role, justify="right")
    for name, cells in figures.items():
        table.add_row(name, *cells)
    return table


def _figures(record: Record, role: str) -> Mapping[str, str]:
    rests = record.rests[role]
    last = record.latest(role)
    if not last:
        return {}
    first = rests[0] if rests else last
    middle, end = (rests[len(rests) // 2], rests[-1]) if rests else (last, last)
    figures = {
        "streams opened": f"{last['opened']:,}",
        "by the peer": f"{last['handled']:,}",
        "whole / cut / lost": f"{last['whole']:,} / {last['cut']:,} / {last['lost']:,}",
        "spliced": f"{last['spliced']:,}",
        "sessions": f"{last['all_sessions']:,}",
        "sent / received": f"{_megabytes(last['sent'])} / {_megabytes(last['received'])}",
        "RSS, MB": " / ".join(f"{rest['rss'] / 1e6:,.1f}" for rest in (first, middle, end)),
    }
    for name in ("tasks", "descriptors", "streams"):
        figures[name] = f"{first[name]} / {_most(record, role, name)} / {end[name]}"
    for figure in MEMORY:
        grown = growth(rests, figure)
        shown = "too short to say" if grown is None else f"{grown.per_stream:.3g} of {grown.limit:.3g}"
        figures[f"{figure} a stream"] = shown
    return figures


def _most(record: Record, role: str, name: str) -> int:
    return max((each[name] for each in (*record.samples[role], *record.rests[role])), default=0)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"

"""What a run prints: a table for each measure on a terminal, plain lines elsewhere, and a summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .model import Entry, Figure
    from .outcome import Outcome, Verdict

__all__ = ["line_texts", "measure_view", "summary"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one entry."""

    entry: str
    figure: str
    median: str
    spread: str
    ratio: str
    verdicts: Sequence[tuple[str, bool]]
    """Each target, and whether it is reached."""

    def targets(self) -> str:
        return ", ".join(f"{text} {'reached' if reached else 'MISSED'}" for text, reached in self.verdicts)


def rows(outcome: Outcome) -> Iterator[Row]:
    """The figures of all that took part."""
    for entry in outcome.measure.entries:
        for figure in outcome.measure.figures:
            if outcome.values(entry.name, figure.key):
                yield _row(outcome, entry, figure)


def _row(outcome: Outcome, entry: Entry, figure: Figure) -> Row:
    values = outcome.values(entry.name, figure.key)
    median = outcome.median(entry.name, figure.key)
    ratio = outcome.ratio(entry.name, figure.key)
    compared = entry.name != outcome.subject and ratio is not None and figure.unit != "round trips"
    return Row(
        entry.name,
        figure.label,
        show(median or 0, figure.unit),
        f"{show(min(values), figure.unit)} to {show(max(values), figure.unit)}" if len(values) > 1 else "",
        f"{ratio:.2f}x" if compared else "",
        [_said(outcome, verdict) for verdict in outcome.verdicts() if _belongs(verdict, entry, figure)],
    )


def _said(outcome: Outcome, verdict: Verdict) -> tuple[str, bool]:
    whose = outcome.whose(verdict) if verdict.beside else ""  # otherwise it stands at its own entry
    return f"{whose}{verdict.text}", verdict.reached


def _belongs(verdict: Verdict, entry: Entry, figure: Figure) -> bool:
    return (verdict.beside or verdict.target.entry) == entry.name and verdict.target.figure == figure.key


def measure_view(outcome: Outcome) -> RenderableType:
    """A measure as a table, for a terminal."""
    several = len(outcome.measure.figures) > 1
    title = Text(outcome.measure.name, style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", *(("figure",) if several else ())):
        table.add_column(name)
    for name in ("median", "lowest to highest", f"{outcome.subject} : this"):
        table.add_column(name, justify="right")
    table.add_column("target")
    for row in rows(outcome):
        cells = [row.entry, *((row.figure,) if several else ()), row.median, row.spread, row.ratio]
        table.add_row(*cells, _coloured(row))
    return Group(table, *(Text(line, style="yellow") for line in _absent(outcome)), Text())


def _coloured(row: Row) -> Text:
    if not row.verdicts:
        return Text()
    return Text(row.targets(), style="green" if all(reached for _, reached in row.verdicts) else "bold red")


def line_texts(outcome: Outcome) -> list[str]:
    """A measure as lines that make sense each by itself, for a log."""
    several = len(outcome.measure.figures) > 1
    lines = []
    for row in rows(outcome):
        parts = [f"{row.figure} {row.median}" if several else row.median]
        parts += [f"({row.spread})"] if row.spread else []
        parts += [f"{outcome.subject} has {row.ratio}"] if row.ratio else []
        parts += [f"target {row.targets()}"] if row.verdicts else []
        lines.append(f"{outcome.measure.name} | {row.entry} | {' | '.join(parts)}")
    return [*lines, *(f"{outcome.measure.name} | {line}" for line in _absent(outcome))]


def _absent(outcome: Outcome) -> Iterator[str]:
    for name, reason in outcome.missing.items():
        yield f"{name} skipped: {reason}"
    for name, reason in outcome.failed.items():
        yield f"{name} FAILED: {reason}"


def summary(console: Console, outcomes: Sequence[Outcome]) -> None:
    """How many targets were reached, and which were not."""
    verdicts = [(outcome, verdict) for outcome in outcomes for verdict in outcome.verdicts()]
    missed = [(outcome, verdict) for outcome, verdict in verdicts if not verdict.reached]
    console.print(f"{len(verdicts) - len(missed)} of {len(verdicts)} targets reached")
    for outcome, verdict in missed:
        beside = f" of {verdict.beside}" if verdict.beside else ""
        units = {figure.key: figure.unit for figure in outcome.measure.figures}
        value = outcome.median(verdict.target.entry, verdict.target.figure) or 0
        is_now = show(value, units[verdict.target.figure])
        console.print(
            f"  missed: {outcome.measure.name}: {outcome.whose(verdict)}{is_now}, target {verdict.text}{beside}"
        )
    for reason, names in _skipped(outcomes).items():
        console.print(f"  skipped: {', '.join(names)}: {reason}")


def _skipped(outcomes: Sequence[Outcome]) -> dict[str, dict[str, None]]:
    """Why some could not take part, and who: one that lacks something for one measure may lack another for the next."""
    skipped: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        for name, reason in outcome.missing.items():
            skipped.setdefault(reason, {})[name] = None
    return skipped

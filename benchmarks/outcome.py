"""The samples of a measure, and which targets they reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from .units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import Measure, Sample, Target

__all__ = ["Outcome", "Verdict", "as_json"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the samples reach a target."""

    target: Target
    beside: str | None
    """The entry that the target is relative to; None for an absolute target, or one relative to the entry itself."""
    text: str
    reached: bool


@dataclass(slots=True)
class Outcome:
    """The samples of a measure, by entry, round by round."""

    measure: Measure
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Why an entry could not take part."""
    failed: dict[str, str] = field(default_factory=dict)
    """What went wrong with an entry in at least one round."""

    def values(self, entry: str, figure: str) -> list[float]:
        """A figure of an entry, from each round that has it."""
        return [sample[figure] for sample in self.samples.get(entry, ()) if figure in sample]

    def median(self, entry: str, figure: str) -> float | None:
        """The median of a figure, which is what counts; None without samples."""
        values = self.values(entry, figure)
        return median(values) if values else None

    @property
    def subject(self) -> str:
        """The entry that the others are compared with."""
        return self.measure.targets[0].entry if self.measure.targets else self.measure.entries[0].name

    def ratio(self, entry: str, figure: str) -> float | None:
        """The subject's figure in units of this entry's."""
        ours, theirs = self.median(self.subject, figure), self.median(entry, figure)
        return ours / theirs if ours is not None and theirs else None

    def whose(self, verdict: Verdict) -> str:
        """The entry that a target is for, if that is not the subject."""
        return "" if verdict.target.entry == self.subject else f"{verdict.target.entry} "

    def verdicts(self) -> list[Verdict]:
        """Each target that can be judged: the entries that it is relative to may be missing."""
        judged = (self._judge(target) for target in self.measure.targets)
        return [verdict for verdict in judged if verdict is not None]

    def _judge(self, target: Target) -> Verdict | None:
        value = self.median(target.entry, target.figure)
        beside, reference = self._reference(target)
        if value is None or reference is None:
            return None
        limit = target.factor * reference
        sign = "≤" if target.at_most else "≥"
        return Verdict(
            target, beside, f"{sign} {self._limit_text(target)}", value <= limit if target.at_most else value >= limit
        )

    def _reference(self, target: Target) -> tuple[str | None, float | None]:
        """The entry and the figure that the factor multiplies: the largest of the entries named, a figure, or 1."""
        if target.beside:
            figures = {entry: self.median(entry, target.figure) for entry in target.beside}
            known = {entry: figure for entry, figure in figures.items() if figure is not None}
            best = max(known, key=lambda entry: known[entry], default=None)
            return best, known[best] if best is not None else None
        if target.beside_figure is not None:
            return None, self.median(target.entry, target.beside_figure)
        return None, 1.0

    def _limit_text(self, target: Target) -> str:
        labels = {figure.key: figure for figure in self.measure.figures}
        if target.beside:
            return f"{target.factor:g}x"
        if target.beside_figure is not None:
            return f"{target.factor:g}x {labels[target.beside_figure].label}"
        return show(target.factor, labels[target.figure].unit)


def as_json(machine: dict[str, Any], options: dict[str, Any], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A whole run: every sample, the medians and the verdicts."""
    return {"machine": machine, "options": options, "measures": [_measure_json(outcome) for outcome in outcomes]}


def _measure_json(outcome: Outcome) -> dict[str, Any]:
    measure = outcome.measure
    return {
        "group": measure.group,
        "name": measure.name,
        "jobs": {entry.name: dict(entry.job) for entry in measure.entries},
        "medians": {
            entry: {figure.key: outcome.median(entry, figure.key) for figure in measure.figures}
            for entry in outcome.samples
        },
        "targets": [
            {
                "entry": verdict.target.entry,
                "figure": verdict.target.figure,
                "beside": verdict.beside,
                "target": verdict.text,
                "reached": verdict.reached,
            }
            for verdict in outcome.verdicts()
        ],
        "missing": outcome.missing,
        "failed": outcome.failed,
        "samples": outcome.samples,
    }

"""Outcomes as a run would give them, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measures import MEASURES
from benchmarks.outcome import Outcome

if TYPE_CHECKING:
    from benchmarks.model import Measure, Sample

__all__ = ["canned", "measure"]


def measure(name: str) -> Measure:
    """The measure of this name."""
    (found,) = (measure for measure in MEASURES if measure.name == name)
    return found


def canned(measure: Measure, rounds: int = 3) -> Outcome:
    """Figures that differ from entry to entry and from round to round."""
    outcome = Outcome(measure)
    for place, entry in enumerate(measure.entries, start=1):
        outcome.samples[entry.name] = [_sample(measure, place, number) for number in range(rounds)]
    return outcome


def _sample(measure: Measure, place: int, number: int) -> Sample:
    sample: Sample = {figure.key: place * (10 + number) / 1e3 for figure in measure.figures}
    if measure.group == "link":
        sample["intervals"] = [min(125_000 * trip, 2_500_000) // place for trip in range(1, 30)]
    return sample

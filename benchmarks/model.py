"""What a measure is: its entries, their jobs, the figures that come out, and the targets of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .link import Link

__all__ = ["Entry", "Figure", "Job", "Measure", "Round", "Sample", "Target"]

Job: TypeAlias = Mapping[str, Any]
Sample: TypeAlias = dict[str, Any]
"""The result of one run."""

Round: TypeAlias = dict[str, Sample]
"""The sample of each entry in one round."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of each sample."""

    key: str
    label: str
    unit: str
    """One of those in `units`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender with a job."""

    name: str
    contender: str
    job: Job


@dataclass(frozen=True, slots=True)
class Target:
    """A target for a figure of one entry: relative to the same figure of other entries (the largest of them counts),
    relative to another figure of its own, or absolute."""

    entry: str
    figure: str
    factor: float
    beside: Sequence[str] = ()
    beside_figure: str | None = None
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of a report."""

    group: str
    name: str
    entries: Sequence[Entry]
    figures: Sequence[Figure]
    targets: Sequence[Target] = ()
    rounds: int | None = None
    """Rounds that are enough, where each takes long and they differ little."""
    link: Link | None = None
    derive: Callable[[Round, Measure], None] | None = field(default=None, compare=False)
    """Adds figures that are computed from the samples of a whole round."""

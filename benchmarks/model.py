"""What a measure is: who takes part, what they do, which figures come out and what they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .link import Link

__all__ = ["Entry", "Figure", "Job", "Measure", "Round", "Sample", "Target"]

Job: TypeAlias = Mapping[str, Any]
Sample: TypeAlias = dict[str, Any]
"""What one run gave."""

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
    """One that takes part: a contender with a job."""

    name: str
    contender: str
    job: Job


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure of one entry should be: beside the same figure of other entries (the largest of them counts),
    beside another figure of its own, or in itself."""

    entry: str
    figure: str
    factor: float
    beside: Sequence[str] = ()
    beside_figure: str | None = None
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of what is to be known."""

    group: str
    name: str
    entries: Sequence[Entry]
    figures: Sequence[Figure]
    targets: Sequence[Target] = ()
    rounds: int | None = None
    """Rounds that do, where each takes long and does not scatter."""
    link: Link | None = None
    derive: Callable[[Round, Measure], None] | None = field(default=None, compare=False)
    """Adds figures that take the samples of a whole round."""

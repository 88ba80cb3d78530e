"""Counting over time, without the warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Meter", "Span", "Tally", "joined"]


@dataclass(frozen=True, slots=True)
class Span:
    """How much there was from one moment to another; the moments are seconds on one and the same clock."""

    count: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start

    @property
    def rate(self) -> float | None:
        """A second. None if there was no time that counts."""
        return self.count / self.seconds if self.seconds > 0 else None


def joined(spans: Sequence[Span]) -> Span:
    """What happened side by side, from the first beginning to the last end: never more than there was a second."""
    return Span(sum(span.count for span in spans), min(span.start for span in spans), max(span.end for span in spans))


class Meter:
    """Counts from the end of the warm-up on, which is `warm_up` seconds after it was made."""

    def __init__(self, warm_up: float) -> None:
        self._start = trio.current_time() + warm_up
        self._count = 0

    @property
    def counts(self) -> bool:
        """Whether the warm-up is over."""
        return trio.current_time() >= self._start

    def add(self, count: int) -> None:
        """Note what has just come."""
        if self.counts:
            self._count += count

    def finish(self) -> Span:
        """What counted until now. Time in which nothing comes any more counts as well, so ask when it is over."""
        return Span(self._count, self._start, max(self._start, trio.current_time()))


class Tally:
    """How far a step is; only for the display, so the warm-up counts and uploads are counted by the sender."""

    def __init__(self) -> None:
        self.done = 0

    def add(self, count: int) -> None:
        """Note what has just come or gone."""
        self.done += count

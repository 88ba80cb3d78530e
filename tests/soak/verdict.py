"""What a run comes to: whether all is back where it began, and whether memory has a plateau.

Each round ends in a rest: the load stops, and all that belongs to it must be gone. Counts are compared with the first
rest, which is before any load, and must be **equal**: tasks, descriptors, sessions, streams, waiting control frames,
what is used of the receive budget, and the living objects of each of the library's types. So one stream that is kept
is a fault, however short the run.

Memory cannot be equal. An allocator keeps what others may use next, and its arenas are filled differently each time:
the first rounds fill them, then there is a plateau with a ripple. What leaks grows with the streams instead. So the
figure is growth per stream: the slope of a least-squares line through the rests of the second half, over the streams
that were done by then. It is measured twice: as resident memory, and as the blocks that Python has allocated. A state
keeps its session with it: when one of a hundred was kept, both processes grew by 540 bytes and 0.45 blocks a
stream. By itself it has 450 bytes in four blocks, so that would be 4.5 bytes and 0.04 blocks a stream. The limits lie
below that. What the ripple adds to them is small against it in a run of ten minutes; shorter ones rely on the objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .measure import EXACT

__all__ = ["MEMORY", "PARTS", "Growth", "Rest", "faults", "growth"]

Rest: TypeAlias = Mapping[str, Any]
"""What a process says at a rest."""

FEWEST: Final = 6
"""Rests that it takes to speak of a plateau: a line through three of them, after as many to get there."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a figure may grow."""

    unit: str
    per_stream: float
    ripple: float
    """What it may differ by in all, over the second half of a run."""


MOST_SHOWN: Final = 12
"""Differences in one process that are worth a line: what keeps a session keeps thirty types of objects."""

PARTS: Final = (
    "muxpy.proto._outgoing.Outgoing",
    "muxpy.proto._window.Measurement",
    "muxpy.session._waiting.Waiting",
)
"""What a stream makes when it first needs it, and keeps. The streams of heartbeats last, and whether their few bytes
ever stand in line is chance, or whether their tasks wait while another one reads. Nobody else refers to these parts,
and the streams are counted."""

MEMORY: Final[Mapping[str, Limit]] = {
    "rss": Limit("bytes", 3.0, 256 * 1024),
    "blocks": Limit("blocks", 0.02, 3_000),
}


@dataclass(frozen=True, slots=True)
class Growth:
    """How a figure grew over the second half of a run."""

    figure: str
    per_stream: float
    limit: float

    @property
    def leaks(self) -> bool:
        """Whether that is more than it may."""
        return self.per_stream > self.limit


def growth(rests: Sequence[Rest], figure: str) -> Growth | None:
    """How much a figure grew with each stream; None if the run was too short to say."""
    rests = rests[:-1]  # the last is after as many streams at once as a session takes, not after a round
    if len(rests) < FEWEST:
        return None
    half = rests[len(rests) // 2 :]
    streams = half[-1]["done"] - half[0]["done"]
    if not streams:
        return None
    limit = MEMORY[figure]
    slope = _slope([rest["done"] for rest in half], [rest[figure] for rest in half])
    return Growth(figure, slope, limit.per_stream + limit.ripple / streams)


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the line with the least squares."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((each - x) ** 2 for each in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else 0.0


def faults(role: str, rests: Sequence[Rest]) -> list[str]:
    """Everything that is wrong with one process, each in one line."""
    if not rests:
        return [f"{role}: it never came to a rest"]
    found = [f"{role}: {failure}" for failure in rests[-1]["failures"]]
    found += [f"{role}, {difference}" for difference in _differences(rests)]
    for figure, limit in MEMORY.items():
        grown = growth(rests, figure)
        if grown is not None and grown.leaks:
            found.append(
                f"{role}: {figure} grew by {grown.per_stream:.3g} {limit.unit} a stream; {grown.limit:.3g} are allowed"
            )
    return found


def _differences(rests: Sequence[Rest]) -> list[str]:
    """What was not the same after each round: when that was seen first, and how it was at the end."""
    first, *others = map(_counts, rests)
    found = []
    for name in sorted({name for counts in (first, *others) for name in counts}):
        was = first.get(name, 0)
        rounds = [number for number, counts in enumerate(others, start=1) if counts.get(name, 0) != was]
        if rounds:
            now = others[rounds[-1] - 1].get(name, 0)
            found.append(f"after round {rounds[0]}: {name}: {now} in the end, at first {was}")
    if len(found) > MOST_SHOWN:
        found[MOST_SHOWN:] = [f"and {len(found) - MOST_SHOWN} more, as in the samples"]
    return found


def _counts(rest: Rest) -> dict[str, int]:
    living = {name: count for name, count in rest["living"].items() if name not in PARTS}
    return {name: rest[name] for name in EXACT} | living

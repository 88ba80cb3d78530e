"""What to measure, and the progress of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ._protocol import MAX_SECONDS

__all__ = ["MAX_STEP", "UNITS", "Amount", "Measure", "Plan", "Progress", "Step"]

DEFAULT_SECONDS: Final = 3.0
DEFAULT_STREAMS: Final = 4
MAX_STEP: Final = MAX_SECONDS - 5
"""Seconds of one step with its warm-up. The rest is for the load during a latency step, which ends after it."""


class Measure(StrEnum):
    """What can be measured, in this order."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    LATENCY = "latency"
    LOADED_LATENCY = "loaded-latency"
    OPENS = "opens"


UNITS: Final = {
    Measure.DOWNLOAD: "bytes",
    Measure.UPLOAD: "bytes",
    Measure.LATENCY: "round trips",
    Measure.LOADED_LATENCY: "round trips",
    Measure.OPENS: "streams",
}
"""The unit of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Ends a step before its time is over. None: only the time ends it."""

    size: int | None = None
    """Bytes on each stream of a download or an upload."""
    round_trips: int | None = None
    opens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and for how long."""

    seconds: float = DEFAULT_SECONDS
    """Length of each step, without the warm-up."""
    streams: int = DEFAULT_STREAMS
    """Parallel streams; throughput is also measured over one."""
    warm_up: float = 0.3
    """Seconds at the beginning of each step that do not count: windows are still growing, TCP's as well."""
    at_once: int = 100
    """Streams that are opened and closed in parallel."""
    measures: tuple[Measure, ...] = tuple(Measure)
    amount: Amount = field(default_factory=Amount)

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.warm_up >= 0 and self.seconds + self.warm_up <= MAX_STEP):
            raise ValueError(f"a step with its warm-up takes up to {MAX_STEP:g} seconds, not {self.seconds:g}")

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, which are done sequentially."""
        steps: list[Step] = []
        for measure in self.measures:
            if measure in (Measure.DOWNLOAD, Measure.UPLOAD):
                steps += [Step(measure, streams) for streams in sorted({1, self.streams})]
            else:
                steps.append(Step(measure, self.at_once if measure is Measure.OPENS else 1))
        return tuple(steps)


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement."""

    measure: Measure
    streams: int

    def __str__(self) -> str:
        if self.measure is Measure.LATENCY:
            return "latency"
        if self.measure is Measure.LOADED_LATENCY:
            return "latency under load"
        if self.measure is Measure.OPENS:
            return f"{self.streams} parallel stream opens"
        return f"{self.measure.value}, {self.streams} stream{'s' if self.streams > 1 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a step."""

    step: Step
    share: float
    """The share of its time that is over, from 0 to 1."""
    rate: float | None
    """Per second, in the step's unit (see UNITS): until it is finished the average so far, with the warm-up; then the
    result. None if unknown."""
    finished: bool = False

"""Results: counting over time, without the warm-up, and what is made of the counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import trio

from .._errors import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BenchResult",
    "Latency",
    "Meter",
    "Outcome",
    "Span",
    "StepCount",
    "StreamOpens",
    "Throughput",
    "joined",
    "latency_of",
]


@dataclass(frozen=True, slots=True)
class Span:
    """A count between two moments, in seconds of one clock."""

    count: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """The time between them."""
        return self.end - self.start

    @property
    def rate(self) -> float | None:
        """Per second. None if no time counted."""
        return self.count / self.seconds if self.seconds > 0 else None


def joined(spans: Sequence[Span]) -> Span:
    """Parallel spans as one, from the first start to the last end, so that the rate is never overstated."""
    return Span(sum(span.count for span in spans), min(span.start for span in spans), max(span.end for span in spans))


class Meter:
    """Counts from the end of the warm-up, `warm_up` seconds after it was made."""

    def __init__(self, warm_up: float) -> None:
        self._start = trio.current_time() + warm_up
        self._count = 0

    @property
    def counts(self) -> bool:
        """Whether the warm-up is over."""
        return trio.current_time() >= self._start

    def add(self, count: int) -> None:
        """Count what has just arrived."""
        if self.counts:
            self._count += count

    def finish(self) -> Span:
        """The count until now. Time without arrivals counts as well, so call it when the step is over."""
        return Span(self._count, self._start, max(self._start, trio.current_time()))


class StepCount:
    """The progress of a step, for the display only, so the warm-up counts, and the sender counts uploads."""

    def __init__(self) -> None:
        self.done = 0

    def add(self, count: int) -> None:
        """Count what has just arrived or been sent."""
        self.done += count


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Bytes that arrived, as the receiver counted them."""

    streams: int
    bytes: int
    seconds: float
    rate: float | None
    """Bytes a second over all streams. None if the warm-up did not end."""

    @classmethod
    def of(cls, span: Span, streams: int) -> Throughput:
        """From what was counted."""
        return cls(streams=streams, bytes=span.count, seconds=span.seconds, rate=span.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Sequential round trips of 64 bytes on one stream, in seconds."""

    round_trips: int
    rate: float | None
    """Round trips a second."""
    p50: float
    p99: float
    max: float


def latency_of(samples: Sequence[float], span: Span) -> Latency:
    """The latency from the seconds of each round trip. Raises Failure if there was none."""
    if not samples:
        raise Failure("no round trip was done in the time for it: give more --seconds")
    ordered = sorted(samples)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return Latency(round_trips=len(ordered), rate=span.rate, p50=p50, p99=p99, max=ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpens:
    """Streams that were opened, echoed 64 bytes, and closed."""

    streams: int
    seconds: float
    rate: float | None
    """Streams a second."""
    at_once: int

    @classmethod
    def of(cls, span: Span, at_once: int) -> StreamOpens:
        """From what was counted."""
        return cls(streams=span.count, seconds=span.seconds, rate=span.rate, at_once=at_once)


Outcome = Throughput | Latency | StreamOpens


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """All results; what was not measured is empty or None."""

    download: tuple[Throughput, ...] = ()
    upload: tuple[Throughput, ...] = ()
    latency: Latency | None = None
    loaded_latency: Latency | None = None
    opens: StreamOpens | None = None

    def adding(self, name: str, outcome: Outcome) -> BenchResult:
        """The result with one more outcome, in the field of that name."""
        before: object = getattr(self, name)
        changes: dict[str, Any] = {name: (*before, outcome) if isinstance(before, tuple) else outcome}
        return replace(self, **changes)

    def as_json(self) -> dict[str, object]:
        """For json.dumps: the fields by their names; times in seconds, rates a second."""
        return asdict(self)

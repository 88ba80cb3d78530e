"""What was measured: counting over time, without the warm-up, and what that comes to."""

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
    "StreamOpens",
    "Tally",
    "Throughput",
    "joined",
    "latency_of",
]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Bytes that arrived, as their receiver counted them."""

    streams: int
    bytes: int
    seconds: float
    rate: float | None
    """Bytes a second over all streams. None if the warm-up was never over."""

    @classmethod
    def of(cls, span: Span, streams: int) -> Throughput:
        """From what was counted."""
        return cls(streams=streams, bytes=span.count, seconds=span.seconds, rate=span.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Round trips of 64 bytes on one stream, one after another; in seconds."""

    round_trips: int
    rate: float | None
    """Round trips a second."""
    p50: float
    p99: float
    max: float


def latency_of(samples: Sequence[float], span: Span) -> Latency:
    """Of the seconds that each round trip took. Raises Failure if there was none."""
    if not samples:
        raise Failure("no round trip was done in the time for it: give more --seconds")
    ordered = sorted(samples)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return Latency(round_trips=len(ordered), rate=span.rate, p50=p50, p99=p99, max=ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpens:
    """Streams that were opened, echoed 64 bytes, and ended."""

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
    """All of it; what was not measured is empty or None."""

    download: tuple[Throughput, ...] = ()
    upload: tuple[Throughput, ...] = ()
    latency: Latency | None = None
    loaded_latency: Latency | None = None
    opens: StreamOpens | None = None

    def adding(self, name: str, outcome: Outcome) -> BenchResult:
        """With one more outcome, for the field of that name."""
        before: object = getattr(self, name)
        changes: dict[str, Any] = {name: (*before, outcome) if isinstance(before, tuple) else outcome}
        return replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """For json.dumps: the fields by their names; times in seconds, rates a second."""
        return asdict(self)

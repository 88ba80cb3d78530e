"""What the connecting end asks for on a stream, and what the listening end reports of an upload."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..wire import Message, WireError, unpack_integer
from ._meter import Span

__all__ = ["MAX_BYTES", "MAX_SECONDS", "Job", "Request", "pack_span", "unpack_span"]

MAX_SECONDS: Final = 60.0
"""Of one job with its warm-up: who may connect must not be able to keep the other end at work without coming back."""
MAX_BYTES: Final = 2**50
"""Of one job; far more than goes through a session in MAX_SECONDS."""
MAX_CLOCK: Final = 1e12
"""Seconds on the other end's clock: no sensible clock shows more, and the differences of larger ones mean nothing."""


class Job(StrEnum):
    """What a stream is for."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    ECHO = "echo"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The first message of a stream."""

    job: Job
    warm_up: float = 0.0
    """Seconds that do not count, at the beginning."""
    seconds: float = MAX_SECONDS
    """What is measured, after the warm-up."""
    size: int | None = None
    """Bytes after which a download ends, if the time is not over before."""

    def message(self) -> Message:
        """It for the wire."""
        message: Message = {"test": self.job.value, "seconds": self.seconds, "warm_up": self.warm_up}
        return message if self.size is None else {**message, "bytes": self.size}

    @classmethod
    def parse(cls, message: Message) -> Request:
        """The checked message; raises WireError."""
        try:
            job = Job(str(message.get("test")))
        except ValueError:
            raise WireError("a message without a proper test") from None
        warm_up = _number(message, "warm_up", MAX_SECONDS, 0.0)
        return cls(
            job=job,
            warm_up=warm_up,
            seconds=_number(message, "seconds", MAX_SECONDS - warm_up, MAX_SECONDS - warm_up),
            size=unpack_integer(message, "bytes", most=MAX_BYTES) if message.get("bytes") is not None else None,
        )


def pack_span(span: Span) -> Message:
    """The report on an upload."""
    return {"bytes": span.count, "from": span.start, "to": span.end}


def unpack_span(message: Message) -> Span:
    """The checked report; raises WireError."""
    span = Span(
        count=unpack_integer(message, "bytes", most=MAX_BYTES),
        start=_number(message, "from", MAX_CLOCK),
        end=_number(message, "to", MAX_CLOCK),
    )
    if span.end < span.start:
        raise WireError("a report that ends before it begins")
    return span


def _number(message: Message, key: str, most: float, default: float | None = None) -> float:
    """A number from 0 to `most`; not-a-number is none."""
    value: Any = message.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise WireError(f"a message without a proper {key}")
    return float(value)

"""What both ends of a stream share: the request, the report on an upload, and the bytes that are sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from .._errors import Failure
from ..wire import Message, WireError, unpack_integer
from ._results import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHUNK", "MAX_SECONDS", "Job", "Pattern", "Request", "WrongData", "pack_span", "unpack_span"]


MAX_SECONDS: Final = 60.0
"""The longest job with its warm-up: a client must not keep the other end busy for longer without a new request."""
MAX_BYTES: Final = 2**50
"""The largest job; far more than a session carries in MAX_SECONDS."""
MAX_CLOCK: Final = 1e12
"""Seconds on the other end's clock: no sensible clock shows more, and differences of larger numbers are inexact."""


class Job(StrEnum):
    """The purpose of a stream."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    ECHO = "echo"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The first message of a stream."""

    job: Job
    warm_up: float = 0.0
    """Seconds at the beginning that do not count."""
    seconds: float = MAX_SECONDS
    """Seconds that are measured, after the warm-up."""
    size: int | None = None
    """Bytes after which a download ends, if its time is not over before."""

    def message(self) -> Message:
        """The request for the wire."""
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
    """A number from 0 to `most`, not NaN. Raises WireError."""
    value: Any = message.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise WireError(f"a message without a proper {key}")
    return float(value)


# ---- the bytes that are sent, and the check of those that arrive ----

PERIOD: Final = 64 * 1024
"""Bytes after which the pattern repeats: small enough to stay in a processor's cache."""
CHUNK: Final = 256 * 1024
"""Bytes that are sent and compared in one step; a session delivers no more at a time."""
STEP: Final = 4099
"""Streams start this many bytes apart in the pattern, so that bytes of another stream are seen to be wrong."""

# Nothing on the way can compress it, and it is the same at both ends: SHAKE-256 of that text is part of the protocol.
# bytes.startswith compares with it in place, at the speed of memory. Two memoryviews are compared byte by byte, which
# would take longer than the session needs to carry them.
_BYTES: Final = hashlib.shake_256(b"muxpy bench").digest(PERIOD) * (1 + CHUNK // PERIOD)
_VIEW: Final = memoryview(_BYTES)


class WrongData(Failure):
    """The data that arrived is not the data that was sent."""


class Pattern:
    """One direction of a stream, from its start."""

    def __init__(self, stream_id: int) -> None:
        self._first = stream_id * STEP
        self.position = 0
        """Bytes that have been sent or checked."""

    def next_bytes(self, count: int) -> memoryview:
        """The next bytes to send, at most CHUNK."""
        start = (self._first + self.position) % PERIOD
        view = _VIEW[start : start + min(count, CHUNK)]
        self.position += len(view)
        return view

    def chunks(self, size: int | None) -> Iterator[memoryview]:
        """All bytes to send, up to `size`; None: endless."""
        while size is None or self.position < size:
            yield self.next_bytes(CHUNK if size is None else size - self.position)

    def check(self, data: bytes | bytearray) -> None:
        """Check the next bytes that arrived; raises WrongData."""
        for begin in range(0, len(data), CHUNK):
            part = data[begin : begin + CHUNK]  # all of it, without a copy, unless there is more
            start = (self._first + self.position) % PERIOD
            if not _BYTES.startswith(part, start):
                raise WrongData(f"wrong data: something differs in the {len(part)} bytes after byte {self.position}")
            self.position += len(part)

"""The lines of a trace file as checked events, and runs of frames that are shown as one line. Sans I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import muxpy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_LINE", "NOTABLE_GAP", "BrokenLine", "Folding", "Run", "TraceLines", "ends"]


MAX_LINE: Final = 256 * 1024
"""Bytes of one line. A GOAWAY whose text fills a frame, with each byte escaped, takes less than half of that."""
LATEST: Final = 253_402_300_799.0
"""The end of the year 9999: a later time has no date."""
MAX_NUMBER: Final = 2**63
"""Above any field of a frame; sums of a million such numbers are still quick."""

_EVENTS: Final = {"begin", "frame", "end"}
_MUXADO: Final = {"SYN", "RST", "DATA", "WND_INC", "GOAWAY"}
_HTTP2: Final = {
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "WINDOW_UPDATE",
    "CONTINUATION",
    "PRIORITY_UPDATE",
}
_TYPES: Final = _MUXADO | _HTTP2
_UNKNOWN: Final = re.compile(r"type 0x[0-9a-f]{1,2}")
"""A frame of HTTP/2 of a type that has no name."""
_FLAGS: Final = ("FIN", "END_STREAM", "ACK")
_LISTS: Final = ("headers", "settings")
_DIRECTIONS: Final = {"sent", "received"}
_TEXTS: Final = ("role", "local", "remote", "tls", "code", "text")
_NUMBERS: Final = ("length", "priority", "stream_type", "increment", "last_id", "promised")


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that is no event, and why."""

    number: int
    reason: str


class TraceLines(Iterator[muxpy.TraceEvent | BrokenLine]):
    """The events of a file in order, with BrokenLine for what could not be read; holds one line at a time.

    `read_line(size)` returns the next bytes up to the end of the line, at most `size` of them; b"" at the end.
    """

    def __init__(self, read_line: Callable[[int], bytes]) -> None:
        self._read_line = read_line
        self._number = 0

    def __next__(self) -> muxpy.TraceEvent | BrokenLine:
        line = self._read_line(MAX_LINE)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) >= MAX_LINE and not line.endswith(b"\n"):
            while (rest := self._read_line(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            return BrokenLine(self._number, "it is too long")
        try:
            return parse_event(line)
        except ValueError as error:
            cut = "" if line.endswith(b"\n") else "the file ends within it: "
            return BrokenLine(self._number, f"{cut}{error}")


def parse_event(line: bytes) -> muxpy.TraceEvent:
    """Parse one line. Raises ValueError with the reason. Unknown fields are ignored: a later version may have more."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    kind = found.get("event") if isinstance(found, dict) else None
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise ValueError("it is no event of a trace")
    at = found.get("time")
    if not isinstance(at, int | float) or isinstance(at, bool) or not 0 <= at <= LATEST:  # nor is not-a-number
        raise ValueError("it has no time")
    values: dict[str, Any] = {"time": float(at), "session": _number(found, "session"), "event": kind}
    if values["session"] is None:
        raise ValueError("session is missing")
    if values["event"] == "frame":
        values |= _frame(found)
    for name in _TEXTS:
        if (text := found.get(name)) is not None:
            if not isinstance(text, str):
                raise ValueError(f"{name} is no text")
            values[name] = text
    return muxpy.TraceEvent(**values)


def _frame(found: dict[str, Any]) -> dict[str, Any]:
    kind, direction, flags = found.get("type"), found.get("direction"), found.get("flags")
    if not isinstance(kind, str) or not (kind in _TYPES or _UNKNOWN.fullmatch(kind)):
        raise ValueError("it is a frame of an unknown type")
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise ValueError("it has no direction")
    values: dict[str, Any] = {"type": kind, "direction": direction, "stream": _number(found, "stream")}
    if values["stream"] is None:
        raise ValueError("stream is missing")
    if isinstance(flags, list) and (set_ones := tuple(flag for flag in _FLAGS if flag in flags)):
        values["flags"] = set_ones
    for name in _LISTS:
        if (texts := found.get(name)) is not None:
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"{name} is no list of texts")
            values[name] = tuple(texts)
    for name in _NUMBERS:
        if (number := _number(found, name)) is not None:
            values[name] = number
    return values


def _number(found: dict[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise ValueError(f"{name} is no number of a frame")
    return value


def ends(frame: muxpy.TraceEvent) -> bool:
    """Whether it ends its direction of the stream."""
    return frame.flags is not None and ("FIN" in frame.flags or "END_STREAM" in frame.flags)


# ---- frames that are shown as one line: DATA and window updates of one stream ----

_FOLDED: Final = ("DATA", "WND_INC", "WINDOW_UPDATE")

NOTABLE_GAP: Final = 0.1
"""Seconds without a frame that are shown, and that no line may hide: a person would feel them."""
MAX_RUNS: Final = 64
"""Runs that are folded at the same time. Readers could not tell more of them apart."""


@dataclass(slots=True)
class Run:
    """A frame, or several of one type, stream and direction, with their sum."""

    first: muxpy.TraceEvent
    gap: float | None
    """Seconds since the previous frame, which may belong to another run."""
    count: int = 1
    total: int = 0
    """Bytes of payload, or of window."""
    fin: bool = False

    @property
    def session(self) -> int:
        """The number of its session."""
        return self.first.session

    def add(self, frame: muxpy.TraceEvent) -> None:
        """Add one more frame."""
        self.count += 1
        self._count(frame)

    def _count(self, frame: muxpy.TraceEvent) -> None:
        self.total += frame.length or frame.increment or 0
        self.fin = self.fin or ends(frame)

    @classmethod
    def of(cls, frame: muxpy.TraceEvent, gap: float | None) -> Run:
        """A run that begins with this frame."""
        run = cls(frame, gap)
        run._count(frame)
        return run


class Folding:
    """Folds the frames of all sessions. Runs end, in the order in which they began, with any other frame, with a FIN,
    with a session's begin or end, and with a notable gap: no event between two lines is hidden."""

    def __init__(self, *, everything: bool) -> None:
        """`everything`: fold nothing."""
        self._everything = everything
        self._runs: dict[tuple[int, int | None, str | None, str | None], Run] = {}

    def add(self, frame: muxpy.TraceEvent, gap: float | None) -> Iterator[Run]:
        """Add the next frame, `gap` seconds after the previous one of its session; the runs that it ends."""
        if frame.type not in _FOLDED or self._everything:
            yield from self.end()
            yield Run.of(frame, gap)
            return
        if (gap is not None and gap >= NOTABLE_GAP) or len(self._runs) >= MAX_RUNS:
            yield from self.end()
        key = frame.session, frame.stream, frame.direction, frame.type
        if (run := self._runs.get(key)) is not None:
            run.add(frame)
        else:
            self._runs[key] = Run.of(frame, gap)
        if ends(frame):
            yield from self.end()

    def end(self) -> Iterator[Run]:
        """End all runs."""
        runs, self._runs = self._runs, {}
        yield from runs.values()

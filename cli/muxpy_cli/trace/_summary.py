"""The summary of a trace: its streams, and its frames by type. Holds no more for a long one than for a short one."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from ..specs import printable
from ..view import Column, format_count, format_rtt, format_size, grid_lines
from ._read import ends

if TYPE_CHECKING:
    from rich.text import Text

    import muxpy

__all__ = ["LISTED", "SessionSummary", "TraceSummary", "summary_lines"]


LISTED: Final = 20
"""Streams that are listed at the end: those that carried most."""
MAX_LIVE: Final = 100_000
"""Streams of one session that may be open at the same time; beyond that, the oldest count as lost."""
MAX_SESSIONS: Final = 10_000
"""Sessions that are remembered; beyond that, the oldest are forgotten."""


@dataclass(slots=True)
class StreamSummary:
    """One stream."""

    session: int
    id: int
    opened_here: bool
    begun: float
    """Seconds since the session began."""
    last: float
    sent: int = 0
    received: int = 0
    ended: str = ""
    """How it ended; empty while it is open."""
    finished: set[str] = field(default_factory=set)
    """The directions that have had a FIN."""

    @property
    def bytes(self) -> int:
        """Payload in both directions."""
        return self.sent + self.received


class SessionSummary:
    """One session."""

    def __init__(self, number: int, began: float, role: str | None) -> None:
        self.number = number
        self.began = began
        self.role = role
        self.over = False
        self.last = began
        """The time of its last event."""
        self.seen = False
        """Whether a frame of it was shown."""
        self.live: OrderedDict[int, StreamSummary] = OrderedDict()
        self.highest = {True: 0, False: 0}  # the last id opened here, and by the peer


class TraceSummary:
    """Everything that was shown."""

    def __init__(self) -> None:
        self.sessions: OrderedDict[int, SessionSummary] = OrderedDict()
        self.session_count = 0
        self.frames: Counter[tuple[str | None, str | None]] = Counter()
        """Counts by type and direction."""
        self.payload: Counter[str | None] = Counter()
        """Bytes by direction."""
        self.stream_count = 0
        self.stream_bytes = 0
        self._listed: list[tuple[int, int, StreamSummary]] = []
        self._order = count()

    def begin(self, event: muxpy.TraceEvent) -> SessionSummary:
        """Begin a session. One of the same number that has not ended is from another process."""
        if (before := self.sessions.pop(event.session, None)) is not None:
            self._close(before, "")
        elif len(self.sessions) >= MAX_SESSIONS:
            self._close(self.sessions.popitem(last=False)[1], "")
        self.session_count += 1
        session = self.sessions[event.session] = SessionSummary(event.session, event.time, event.role)
        return session

    def end(self, session: SessionSummary) -> None:
        """End a session, and its streams with it."""
        session.over = True
        self._close(session, "with the session")

    def close(self) -> None:
        """The trace has ended."""
        for session in self.sessions.values():
            self._close(session, "")

    def frame(self, session: SessionSummary, frame: muxpy.TraceEvent) -> None:
        """Count a frame."""
        session.seen = True
        self.frames[frame.type, frame.direction] += 1
        if frame.type == "DATA":
            self.payload[frame.direction] += frame.length or 0
        if frame.stream and (stream := self._stream(session, frame)) is not None:
            self._count(session, stream, frame)

    def largest(self) -> list[StreamSummary]:
        """The streams to list, in the order in which they were opened."""
        streams = [stream for _, _, stream in self._listed]
        return sorted(streams, key=lambda stream: (stream.session, stream.begun, stream.id))

    def _stream(self, session: SessionSummary, frame: muxpy.TraceEvent) -> StreamSummary | None:
        """The frame's stream; None for one that has ended."""
        assert frame.stream is not None
        if (stream := session.live.get(frame.stream)) is not None:
            return stream
        here = (frame.direction == "sent") if frame.type == "SYN" else self._is_ours(session, frame.stream)
        if frame.stream <= session.highest[here]:
            return None
        session.highest[here] = frame.stream
        at = frame.time - session.began
        stream = session.live[frame.stream] = StreamSummary(session.number, frame.stream, here, at, at)
        self.stream_count += 1
        if len(session.live) > MAX_LIVE:
            self._retire(session.live.popitem(last=False)[1])
        return stream

    def _is_ours(self, session: SessionSummary, stream_id: int) -> bool:
        return bool(stream_id % 2) == (session.role != "server")

    def _count(self, session: SessionSummary, stream: StreamSummary, frame: muxpy.TraceEvent) -> None:
        stream.last = frame.time - session.began
        if frame.type == "DATA":
            if frame.direction == "sent":
                stream.sent += frame.length or 0
            else:
                stream.received += frame.length or 0
            self.stream_bytes += frame.length or 0
        if ends(frame):
            stream.finished.add(frame.direction or "")
        if frame.type in ("RST", "RST_STREAM"):
            who = "this side" if frame.direction == "sent" else "peer"
            stream.ended = f"{frame.code} by {who}"
        elif len(stream.finished) == 2:
            stream.ended = "finished"
        if stream.ended:
            del session.live[stream.id]
            self._retire(stream)

    def _close(self, session: SessionSummary, how: str) -> None:
        for stream in session.live.values():
            stream.ended = how
            if how:
                stream.last = session.last - session.began
            self._retire(stream)
        session.live.clear()

    def _retire(self, stream: StreamSummary) -> None:
        entry = stream.bytes, -next(self._order), stream
        if len(self._listed) < LISTED:
            heapq.heappush(self._listed, entry)
        else:
            heapq.heappushpop(self._listed, entry)


# ---- the tables at the end of a ladder ----

_KINDS: Final = ("SYN", "HEADERS", "DATA", "WND_INC", "RST", "GOAWAY")
"""The order of those that matter most; others follow as they come."""
_DIRECTIONS: Final = ("sent", "received")


def summary_lines(summary: TraceSummary, width: int) -> list[tuple[str, str]]:
    """Lines, each with its style: the streams, then the frames by kind."""
    lines = []
    if streams := summary.largest():
        lines += [("", ""), *_plain(grid_lines(_stream_columns(streams, summary.session_count > 1), width))]
        if (more := summary.stream_count - len(streams)) > 0:
            rest = summary.stream_bytes - sum(stream.bytes for stream in streams)
            noun = "stream" if more == 1 else "streams"
            lines.append((f"and {format_count(more)} more {noun}, {format_size(rest)}", "dim"))
    if summary.frames:
        lines += [("", ""), *_plain(grid_lines(_frame_columns(summary), width))]
    return lines


def _plain(lines: list[Text]) -> list[tuple[str, str]]:
    return [(line.plain, str(line.style)) for line in lines]


def _stream_columns(streams: list[StreamSummary], several: bool) -> list[Column]:
    columns = [Column(title="session", cells=[str(stream.session) for stream in streams], right=True)] * several
    return [
        *columns,
        Column(title="stream", cells=[str(stream.id) for stream in streams], right=True),
        Column(title="opened by", cells=["this side" if stream.opened_here else "peer" for stream in streams], rank=1),
        Column(title="sent", cells=[f"{stream.sent:,} B" for stream in streams], right=True),
        Column(title="received", cells=[f"{stream.received:,} B" for stream in streams], right=True),
        Column(title="lasted", cells=[format_rtt(stream.last - stream.begun) for stream in streams], right=True),
        Column(title="ended", cells=[printable(stream.ended) or "no" for stream in streams], least=16),
    ]


def _frame_columns(summary: TraceSummary) -> list[Column]:
    seen = dict.fromkeys(kind for kind, _ in summary.frames if kind)
    kinds = [kind for kind in dict.fromkeys((*_KINDS, *seen)) if kind in seen]
    columns = [Column(title="frames", cells=[*kinds, "payload"])]
    for direction in _DIRECTIONS:
        counts = [format_count(summary.frames[kind, direction]) for kind in kinds]
        columns.append(Column(title=direction, cells=[*counts, f"{summary.payload[direction]:,} B"], right=True))
    return columns

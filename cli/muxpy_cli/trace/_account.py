"""What a trace comes to: its streams, and its frames by kind. Holds no more of a long one than of a short one."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import muxpy

__all__ = ["LISTED", "Account", "SessionAccount", "StreamAccount"]

LISTED: Final = 20
"""Streams that are listed at the end: those that carried most."""
MAX_LIVE: Final = 100_000
"""Streams of one session that may be open at once; of more, the oldest are taken for lost."""
MAX_SESSIONS: Final = 10_000
"""Sessions that are remembered; of more, the oldest are forgotten."""


@dataclass(slots=True)
class StreamAccount:
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
    """How; empty while it is open."""
    finished: set[str] = field(default_factory=set)
    """The directions that a FIN has ended."""

    @property
    def bytes(self) -> int:
        """Of payload, both ways."""
        return self.sent + self.received


class SessionAccount:
    """One session."""

    def __init__(self, number: int, began: float, role: str | None) -> None:
        self.number = number
        self.began = began
        self.role = role
        self.over = False
        self.last = began
        """When its last event was."""
        self.seen = False
        """Whether a frame of it was shown."""
        self.live: OrderedDict[int, StreamAccount] = OrderedDict()
        self.highest = {True: 0, False: 0}  # the last id opened here, and by the peer


class Account:
    """All that was shown."""

    def __init__(self) -> None:
        self.sessions: OrderedDict[int, SessionAccount] = OrderedDict()
        self.session_count = 0
        self.frames: Counter[tuple[str | None, str | None]] = Counter()
        """By kind and direction."""
        self.payload: Counter[str | None] = Counter()
        """Bytes by direction."""
        self.stream_count = 0
        self.stream_bytes = 0
        self._listed: list[tuple[int, int, StreamAccount]] = []
        self._order = count()

    def begin(self, event: muxpy.TraceEvent) -> SessionAccount:
        """A session begins. One of the same number that has not ended is of another process."""
        if (before := self.sessions.pop(event.session, None)) is not None:
            self._close(before, "")
        elif len(self.sessions) >= MAX_SESSIONS:
            self._close(self.sessions.popitem(last=False)[1], "")
        self.session_count += 1
        session = self.sessions[event.session] = SessionAccount(event.session, event.time, event.role)
        return session

    def end(self, session: SessionAccount) -> None:
        """A session has ended, and its streams with it."""
        session.over = True
        self._close(session, "with the session")

    def close(self) -> None:
        """The trace has ended."""
        for session in self.sessions.values():
            self._close(session, "")

    def frame(self, session: SessionAccount, frame: muxpy.TraceEvent) -> None:
        """Count a frame."""
        session.seen = True
        self.frames[frame.type, frame.direction] += 1
        if frame.type == "DATA":
            self.payload[frame.direction] += frame.length or 0
        if frame.type != "GOAWAY" and (stream := self._stream(session, frame)) is not None:
            self._count(session, stream, frame)

    def largest(self) -> list[StreamAccount]:
        """The streams to be listed, in the order in which they were opened."""
        streams = [stream for _, _, stream in self._listed]
        return sorted(streams, key=lambda stream: (stream.session, stream.begun, stream.id))

    def _stream(self, session: SessionAccount, frame: muxpy.TraceEvent) -> StreamAccount | None:
        """The frame's stream; None for what comes for one that has ended."""
        assert frame.stream is not None
        if (stream := session.live.get(frame.stream)) is not None:
            return stream
        here = (frame.direction == "sent") if frame.type == "SYN" else self._is_ours(session, frame.stream)
        if frame.stream <= session.highest[here]:
            return None
        session.highest[here] = frame.stream
        at = frame.time - session.began
        stream = session.live[frame.stream] = StreamAccount(session.number, frame.stream, here, at, at)
        self.stream_count += 1
        if len(session.live) > MAX_LIVE:
            self._retire(session.live.popitem(last=False)[1])
        return stream

    def _is_ours(self, session: SessionAccount, stream_id: int) -> bool:
        return bool(stream_id % 2) == (session.role != "server")

    def _count(self, session: SessionAccount, stream: StreamAccount, frame: muxpy.TraceEvent) -> None:
        stream.last = frame.time - session.began
        if frame.type == "DATA":
            if frame.direction == "sent":
                stream.sent += frame.length or 0
            else:
                stream.received += frame.length or 0
            self.stream_bytes += frame.length or 0
        if frame.flags:
            stream.finished.add(frame.direction or "")
        if frame.type == "RST":
            who = "this side" if frame.direction == "sent" else "peer"
            stream.ended = f"{frame.code} by {who}"
        elif len(stream.finished) == 2:
            stream.ended = "finished"
        if stream.ended:
            del session.live[stream.id]
            self._retire(stream)

    def _close(self, session: SessionAccount, how: str) -> None:
        for stream in session.live.values():
            stream.ended = how
            if how:
                stream.last = session.last - session.began
            self._retire(stream)
        session.live.clear()

    def _retire(self, stream: StreamAccount) -> None:
        entry = stream.bytes, -next(self._order), stream
        if len(self._listed) < LISTED:
            heapq.heappush(self._listed, entry)
        else:
            heapq.heappushpop(self._listed, entry)

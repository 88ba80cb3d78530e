"""Which streams there are: ids of both sides, the map of living streams, and what is known of those that have ended."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

from muxpy._codes import ProtocolError
from muxpy._config import INITIAL_WINDOW
from muxpy.frame.http2 import MAX_ID, Http2Code
from muxpy.proto._limits import MAX_CLOSING, RecentResets
from muxpy.proto._state import CLOSED

if TYPE_CHECKING:
    from muxpy._config import SessionConfig
    from muxpy.proto._stream import StreamState
    from muxpy.proto._window import Budget

    from ._stream import HttpStream

__all__ = ["Past", "StreamTable"]

MOST_GAPS: Final = 64
"""Ranges of ids that the peer has skipped, which are remembered."""


class Past(Enum):
    """What is known of an id whose stream does not live."""

    IDLE = "idle"
    """Nobody has used it."""
    SKIPPED = "skipped"
    """Nobody has used it, and nobody may any more, since a higher one was used."""
    ENDED = "ended"
    """Both sides have ended the stream in order, or all that is remembered is that it was there."""
    RESET_HERE = "reset here"
    RESET_THERE = "reset there"


def _hold(stream: StreamState) -> int:
    """What a stream that is over counts in `StreamTable.held`, where two for each place are allowed.

    A reset costs the peer nothing, so such streams take a place each. A response that has come to its end was the
    handler's work, which is about to return: a peer that uses all places may have as many more by then.
    """
    return (1 if stream.phase is CLOSED else 2) if stream.held else 0


class StreamTable:
    """The streams of one connection: odd ids are the client's, even ones (of pushed streams) the server's."""

    __slots__ = (
        "_budget",
        "_closing",
        "_gaps",
        "_next_id",
        "ended",
        "held",
        "last_remote",
        "live",
        "local_open",
        "most",
        "recent_resets",
        "remote_open",
        "reset_there",
        "waiting",
    )

    def __init__(self, config: SessionConfig, budget: Budget, *, client: bool) -> None:
        self.live: dict[int, HttpStream] = {}
        self.most = config.max_streams  # streams that the peer may have open
        self.last_remote = 0  # the highest id that the peer has used
        self.local_open = self.remote_open = 0  # living streams of either side
        self.held = 0  # streams of the peer that are over, while a handler still works for them, by `_hold`
        self.waiting = 0  # streams of the peer that nobody has accepted yet
        self.ended: int | None = None  # see `_ended_for_peer`; None before each read, and when it may be another number
        self.recent_resets = RecentResets()  # by this side
        self.reset_there = RecentResets()  # by the peer
        self._budget = budget
        self._next_id = 1 if client else 2
        self._gaps: deque[range] | tuple[()] = ()  # most peers leave none
        # Closed here, and not ended by the peer yet, with the time when that was; oldest first.
        self._closing: dict[int, tuple[HttpStream, float]] = {}

    @property
    def ids_left(self) -> bool:
        """Whether this side can open one more stream."""
        return self._next_id <= MAX_ID

    @property
    def open_streams(self) -> int:
        """Streams that the application still uses."""
        return self.local_open + self.remote_open - len(self._closing)

    def is_local(self, stream_id: int) -> bool:
        """Whether this side opens streams of this id."""
        return stream_id & 1 == self._next_id & 1

    # ---- begins ----

    def note_remote(self, stream_id: int) -> None:
        """The peer opens this id, which is above all that it has used before."""
        if stream_id & 1 == self._next_id & 1:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, f"stream id {stream_id} is not the peer's to open")
        first = self.last_remote + 2 if self.last_remote else 1
        if stream_id > first:
            self._gaps = self._gaps or deque(maxlen=MOST_GAPS)
            self._gaps.append(range(first, stream_id, 2))
        self.last_remote = stream_id

    def full(self, most_waiting: int) -> bool:
        """Whether there is no room for one more stream of the peer.

        Those that are over and whose handlers still run are counted apart: for the peer they are over, so it may use
        their places, and yet it must not be able to make any number of handlers run together (rapid reset).
        """
        if self.held >= 2 * self.most or self.waiting >= most_waiting:
            return True
        return self.remote_open >= self.most and self.remote_open - self._ended_for_peer() >= self.most

    def _ended_for_peer(self) -> int:
        """Streams of the peer whose last frame is made, and perhaps read by it, while their sender has yet to wake up
        and see that: the peer may open others in their places. Asked for only where there is no room otherwise, and
        counted anew only after a change, or each request past the limit would cost a look at all streams."""
        if self.ended is None:
            self.ended = sum(
                stream.ends and not stream.unsent and stream.phase.peer_done and not self.is_local(stream.id)
                for stream in self.live.values()
            )
        return self.ended

    def add_remote(self, stream: HttpStream) -> None:
        """Take a stream that the peer opened. It keeps its place, even if it ends, until `let_go`."""
        self.live[stream.id] = stream
        self.remote_open += 1
        self.waiting += 1
        stream.held = True

    def next_local(self) -> int:
        """Take the next id of our own."""
        stream_id = self._next_id
        self._next_id += 2
        return stream_id

    def add_pushed(self, stream: HttpStream) -> None:
        """Take a stream of our own whose response is made as if the peer had asked for it."""
        self.add_local(stream)
        self.waiting += 1

    def add_local(self, stream: HttpStream) -> None:
        """Take a stream of our own."""
        self.live[stream.id] = stream
        self.local_open += 1

    # ---- ends ----

    def forget(self, stream: HttpStream) -> None:
        """The stream has ended: its place is free."""
        stream_id = stream.id
        if self.live.pop(stream_id, None) is None:
            return
        self.ended = None
        if self._closing:
            self._closing.pop(stream_id, None)
        if stream_id & 1 == self._next_id & 1:
            self.local_open -= 1
        else:
            self.remote_open -= 1
            self.held += _hold(stream)
        if stream.incoming.size != INITIAL_WINDOW:
            self.shrink_window(stream)

    def accepted(self, stream: StreamState, *, hold: bool = False) -> None:
        """See Core.accepted."""
        self.waiting -= 1
        if not hold:
            self.let_go(stream)

    def let_go(self, stream: StreamState) -> None:
        """See Core.let_go."""
        if stream.phase.over:
            self.held -= _hold(stream)
        stream.held = False

    def note_closing(self, stream: HttpStream, now: float) -> HttpStream | None:
        """The application closed a stream that the peer has not ended. Returns the oldest such, to be reset, if there
        are too many."""
        self._closing[stream.id] = stream, now
        if len(self._closing) <= max(MAX_CLOSING, self.most):
            return None
        return next(iter(self._closing.values()))[0]

    def closing_since(self, then: float) -> list[HttpStream]:
        """Streams that the application closed by then, and that the peer has not ended."""
        return [stream for stream, since in self._closing.values() if since <= then]

    def shrink_window(self, stream: StreamState) -> None:
        """Give back what the stream's window grew by, if no more data can come and none is unread."""
        if not stream.phase.reads and not stream.incoming.buffered:
            stream.incoming.shrink(self._budget)

    # ---- what was ----

    def past(self, stream_id: int) -> Past:
        """What is known of an id whose stream does not live."""
        if stream_id in self.reset_there:  # also if this side has reset it too: after its own reset, nothing is late
            return Past.RESET_THERE
        if stream_id in self.recent_resets:
            return Past.RESET_HERE
        last = self._next_id - 2 if self.is_local(stream_id) else self.last_remote
        if stream_id > last:
            return Past.IDLE
        return Past.SKIPPED if any(stream_id in gap for gap in self._gaps) else Past.ENDED

    def require_used(self, stream_id: int, what: str) -> Past:
        """What is known of an id whose stream does not live. Raises ProtocolError for one that is idle."""
        past = self.past(stream_id)
        if past is Past.IDLE or not stream_id:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, f"{what} for stream {stream_id}, which was never opened")
        return past

    def local_above(self, last_id: int) -> list[HttpStream]:
        """Living streams opened here with ids above `last_id`."""
        return [stream for stream in self.live.values() if stream.id > last_id and self.is_local(stream.id)]

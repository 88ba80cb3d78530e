"""Which streams there are: ids on both sides, the map of those that live, and what is known of those that do not."""

from collections import Counter
from itertools import takewhile

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._config import SessionConfig
from muxpy.frame import MAX_ID, MIN_EXTENSION_TYPE

from ._limits import MAX_CLOSING, MAX_EXTENSION_STREAMS, RecentResets
from ._stream import StreamState
from ._window import Budget

__all__ = ["StreamTable"]


class StreamTable:
    """The streams of one connection.

    Odd ids are the client's, even ones the server's. The first are 3 and 2: the Go peer refuses a client id of 1.
    """

    __slots__ = (
        "_budget",
        "_closing",
        "_held",
        "_last_remote",
        "_local",
        "_next_id",
        "_open",
        "_parity",
        "live",
        "most",
        "recent_resets",
    )

    def __init__(self, config: SessionConfig, budget: Budget, *, client: bool) -> None:
        self.live: dict[int, StreamState] = {}
        self.recent_resets = RecentResets()
        self.most = config.max_streams
        """Streams that the peer may have open."""
        self._budget = budget
        self._parity = 1 if client else 0
        self._next_id = 3 if client else 2
        self._last_remote = 0
        self._local: dict[int, StreamState] = {}  # the live ones that were opened here, ids ascending
        # Streams by (opened here, of an extension): those that live, and those that are over but still held.
        self._open: Counter[tuple[bool, bool]] = Counter()
        self._held: Counter[tuple[bool, bool]] = Counter()
        self._closing: dict[int, StreamState] = {}  # closed here and not by the peer yet, the oldest first

    @property
    def last_remote(self) -> int:
        """The highest id that the peer has used; 0 if none."""
        return self._last_remote

    @property
    def ids_left(self) -> bool:
        """Whether this side can open one more stream."""
        return self._next_id <= MAX_ID

    @property
    def full(self) -> bool:
        """Whether the peer has as many streams open as it may."""
        return self._open[False, False] + self._held[False, False] >= self.most

    def has_remote(self, extension: bool) -> bool:
        """Whether the peer has a stream open of this kind."""
        return self._open[False, extension] + self._held[False, extension] > 0

    @property
    def full_of_extensions(self) -> bool:
        """The same for streams of extensions, which are counted apart."""
        return self._open[False, True] + self._held[False, True] >= MAX_EXTENSION_STREAMS

    @property
    def open_streams(self) -> int:
        """Streams of both sides that are of use to the application; not extensions', not those it has closed."""
        return self._open[True, False] + self._open[False, False] - len(self._closing)

    def is_local(self, stream_id: int) -> bool:
        """Whether an id is one that this side opens."""
        return stream_id & 1 == self._parity

    def note_remote(self, stream_id: int) -> None:
        """The peer opens this id, taken or not. Raises ProtocolError if it may not."""
        if stream_id < 2 or self.is_local(stream_id):
            both = "; are both sides the " + ("client?" if self._parity else "server?") if stream_id >= 2 else ""
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"stream id {stream_id} is not the peer's to open{both}")
        if stream_id <= self._last_remote:
            raise ProtocolError(
                ErrorCode.PROTOCOL_ERROR,
                f"stream id {stream_id} is not above the last one, {self._last_remote}; "
                "do two sessions write to one connection?",
            )
        self._last_remote = stream_id

    def add_remote(self, stream_id: int, priority: int, stream_type: int) -> StreamState:
        """Take a stream of the peer's. It keeps its place, even if it ends, until `let_go`."""
        stream = self._add(stream_id, priority, stream_type)
        stream.held = True
        return stream

    def add_local(self, priority: int, stream_type: int) -> StreamState:
        """Take the next id of our own."""
        stream_id = self._next_id
        self._next_id += 2
        stream = self._local[stream_id] = self._add(stream_id, priority, stream_type)
        return stream

    def local_above(self, last_id: int) -> list[StreamState]:
        """Live streams opened here with an id above `last_id`, the oldest first. Costs no more than it finds."""
        return list(takewhile(lambda stream: stream.id > last_id, reversed(self._local.values())))[::-1]

    def _add(self, stream_id: int, priority: int, stream_type: int) -> StreamState:
        stream = StreamState(stream_id, priority, stream_type, extension=stream_type >= MIN_EXTENSION_TYPE)
        self.live[stream_id] = stream
        self._open[self.is_local(stream_id), stream.extension] += 1
        return stream

    def require_known(self, stream_id: int, what: str) -> None:
        """Raises ProtocolError for a frame on a stream that neither side has opened yet."""
        last = self._next_id - 2 if self.is_local(stream_id) else self._last_remote
        if stream_id < 2 or stream_id > last:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"{what} for stream {stream_id}, which was never opened")

    def forget(self, stream: StreamState) -> None:
        """The stream has ended: its place is free."""
        if self.live.pop(stream.id, None) is None:
            return
        self._local.pop(stream.id, None)
        self._closing.pop(stream.id, None)
        kind = self.is_local(stream.id), stream.extension
        self._open[kind] -= 1
        self._held[kind] += stream.held
        self.release(stream)

    def let_go(self, stream: StreamState) -> None:
        """Nobody works for the stream any more."""
        if stream.held and stream.ended:
            self._held[self.is_local(stream.id), stream.extension] -= 1
        stream.held = False

    def note_closing(self, stream: StreamState) -> StreamState | None:
        """The application closed a stream that the peer has not ended. One that waited too long, if there are many."""
        if stream.extension:
            return None
        self._closing[stream.id] = stream
        if len(self._closing) <= max(MAX_CLOSING, self.most):
            return None
        return next(iter(self._closing.values()))

    def release(self, stream: StreamState) -> None:
        """Give back what the stream's window grew by, if nothing can come any more and nothing is unread."""
        if not stream.reads and not stream.buffered:
            stream.window.release(self._budget)

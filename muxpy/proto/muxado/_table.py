"""Which streams there are: ids of both sides, the map of living streams, and what is known of those that have ended."""

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._config import INITIAL_WINDOW, SessionConfig
from muxpy.frame.muxado import MAX_ID, MIN_EXTENSION_TYPE
from muxpy.proto._limits import MAX_CLOSING, MAX_EXTENSION_STREAMS, RecentResets
from muxpy.proto._stream import ExtensionStream, StreamState
from muxpy.proto._window import Budget

__all__ = ["StreamTable"]


class Places:
    """How many streams of one kind the peer may have."""

    __slots__ = ("held", "most", "most_waiting", "open", "waiting")

    def __init__(self, most: int, most_waiting: int) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.open = 0  # living streams
        self.held = 0  # streams that are over, while a handler still works for them
        self.waiting = 0  # streams in the backlog: nobody has accepted them yet

    @property
    def in_use(self) -> int:
        """Places in use."""
        return self.open + self.held

    def full(self) -> bool:
        """Whether there is no room for one more."""
        return self.open + self.held >= self.most or self.waiting >= self.most_waiting


class StreamTable:
    """The streams of one connection.

    Odd ids are the client's, even ones the server's. The first are 3 and 2: the Go peer refuses a client id of 1.
    """

    __slots__ = (
        "_budget",
        "_closing",
        "_extensions",
        "_last_remote",
        "_local_open",
        "_next_id",
        "_parity",
        "_remote",
        "live",
        "recent_resets",
    )

    def __init__(self, config: SessionConfig, budget: Budget, *, client: bool) -> None:
        self.live: dict[int, StreamState] = {}
        self.recent_resets = RecentResets()
        self._budget = budget
        self._parity = 1 if client else 0
        self._next_id = 3 if client else 2
        self._last_remote = 0
        self._local_open = 0  # living streams that were opened here for the application, and not for an extension
        self._remote = Places(config.max_streams, config.accept_backlog)
        # Extensions have places of their own: the Go peer ends a session whose heartbeat is refused.
        self._extensions = Places(MAX_EXTENSION_STREAMS, MAX_EXTENSION_STREAMS)
        self._closing: dict[int, StreamState] = {}  # closed here, and not ended by the peer yet; the oldest first

    @property
    def last_remote(self) -> int:
        """The highest id that the peer has used; 0 if none."""
        return self._last_remote

    @property
    def ids_left(self) -> bool:
        """Whether this side can open one more stream."""
        return self._next_id <= MAX_ID

    @property
    def open_streams(self) -> int:
        """Streams that the application still uses, of both sides: not those of extensions, nor those it has closed."""
        return self._local_open + self._remote.open - len(self._closing)

    def places(self, *, extension: bool) -> Places:
        """The places for streams of the peer: those of extensions, or those of the application."""
        return self._extensions if extension else self._remote

    def allow(self, most: int) -> None:
        """Let the peer have `most` streams of the application from now on, and let as many wait."""
        self._remote.most = self._remote.most_waiting = most

    def is_local(self, stream_id: int) -> bool:
        """Whether this side opens streams of this id."""
        return stream_id & 1 == self._parity

    def note_remote(self, stream_id: int) -> None:
        """The peer opens this id, whether the stream is taken or refused. Raises ProtocolError if it may not."""
        if stream_id > self._last_remote and stream_id & 1 != self._parity and stream_id >= 2:
            self._last_remote = stream_id
            return
        if stream_id < 2 or self.is_local(stream_id):
            both = "; are both sides the " + ("client?" if self._parity else "server?") if stream_id >= 2 else ""
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"stream id {stream_id} is not the peer's to open{both}")
        raise ProtocolError(
            ErrorCode.PROTOCOL_ERROR,
            f"stream id {stream_id} is not above the last one, {self._last_remote}; "
            "do two sessions write to one connection?",
        )

    def add_remote(self, stream_id: int, priority: int, stream_type: int) -> StreamState:
        """Take a stream that the peer opened. It keeps its place, even if it ends, until `let_go`."""
        extension = stream_type >= MIN_EXTENSION_TYPE
        made = ExtensionStream if extension else StreamState
        stream = self.live[stream_id] = made(stream_id, priority, stream_type, INITIAL_WINDOW)
        places = self._extensions if extension else self._remote
        places.open += 1
        places.waiting += 1
        stream.held = True
        return stream

    def add_local(self, priority: int, stream_type: int) -> StreamState:
        """Take the next id of our own."""
        stream_id = self._next_id
        self._next_id += 2
        extension = stream_type >= MIN_EXTENSION_TYPE
        made = ExtensionStream if extension else StreamState
        stream = self.live[stream_id] = made(stream_id, priority, stream_type, INITIAL_WINDOW)
        self._local_open += not extension
        return stream

    def local_between(self, last_id: int, up_to: int) -> list[StreamState]:
        """Living streams opened here with ids above `last_id`, and not above `up_to`; the oldest first."""
        first = last_id + 1 + ((last_id + 1 ^ self._parity) & 1)
        ids = range(first, min(up_to + 1, self._next_id), 2)
        # The least work of two, so that all GOAWAYs together cost no more than a look at each id ever used here.
        if len(ids) < len(self.live):
            return [self.live[stream_id] for stream_id in ids if stream_id in self.live]
        return [stream for stream in self.live.values() if stream.id in ids]

    def require_known(self, stream_id: int, what: str) -> None:
        """Raises ProtocolError for a frame on a stream that neither side has opened yet."""
        last = self._next_id - 2 if self.is_local(stream_id) else self._last_remote
        if stream_id < 2 or stream_id > last:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"{what} for stream {stream_id}, which was never opened")

    def forget(self, stream: StreamState) -> None:
        """The stream has ended: its place is free, unless a handler still works for it."""
        stream_id = stream.id
        if self.live.pop(stream_id, None) is None:
            return
        if self._closing:
            self._closing.pop(stream_id, None)
        if stream_id & 1 == self._parity:
            self._local_open -= not stream.extension
        else:
            places = self._extensions if stream.extension else self._remote
            places.open -= 1
            places.held += stream.held
        if stream.incoming.size != INITIAL_WINDOW:
            self.shrink_window(stream)

    def accepted(self, stream: StreamState, *, hold: bool = False) -> None:
        """See Core.accepted."""
        places = self._extensions if stream.extension else self._remote
        places.waiting -= 1
        if not hold:
            self.let_go(stream)

    def let_go(self, stream: StreamState) -> None:
        """See Core.let_go."""
        if stream.held and stream.phase.over:
            places = self._extensions if stream.extension else self._remote
            places.held -= 1
        stream.held = False

    def note_closing(self, stream: StreamState) -> StreamState | None:
        """The application closed a stream that the peer has not ended. Returns the oldest such stream, to be reset, if
        there are too many."""
        if stream.extension:
            return None
        self._closing[stream.id] = stream
        if len(self._closing) <= max(MAX_CLOSING, self._remote.most):
            return None
        return next(iter(self._closing.values()))

    def shrink_window(self, stream: StreamState) -> None:
        """Give back what the stream's window grew by, if no more data can come and none is unread."""
        if not stream.phase.reads and not stream.incoming.buffered:
            stream.incoming.shrink(self._budget)

"""One stream's state: its phase, its two windows, what has arrived and what waits to be sent.

Only the connection and the scheduler change it; the shell reads it. It holds no task and waits for nothing.
"""

from typing import Any, Final

from muxpy._codes import ErrorCode
from muxpy._config import INITIAL_WINDOW

from ._state import Event, Phase, next_phase
from ._window import ReceiveWindow

__all__ = ["StreamState"]

MERGE_BELOW: Final = 4096
"""Unread chunks that together stay below this are merged, or a peer that sends single bytes would make us hold
an object of fifty for each."""


SLIVER: Final = 4096
"""Bytes of window that are worth a frame, if more than that waits to be sent: a sixteenth of the first window. Most
peers have given window back before this little is left."""

LEAST_SLIVER: Final = 512
"""The same for a peer that was seen to give no more at a time."""


class StreamState:
    """State of one stream. `handle` belongs to the shell."""

    __slots__ = (
        "_offset",
        "arriving",
        "blocked",
        "blocked_since",
        "buffered",
        "chunks",
        "cut_short",
        "data_sent",
        "deficit",
        "direct",
        "extension",
        "grant",
        "handle",
        "held",
        "id",
        "outgoing",
        "phase",
        "position",
        "priority",
        "received_fin",
        "reset_by_peer",
        "reset_code",
        "scheduled",
        "send_window",
        "sliver",
        "stream_type",
        "window",
    )

    def __init__(self, stream_id: int, priority: int, stream_type: int, *, extension: bool) -> None:
        self.id = stream_id
        self.priority = priority
        self.stream_type = stream_type
        self.extension = extension  # its data goes before that of others
        self.handle: Any = None
        self.held = False  # keeps its place though it may have ended: see StreamTable.let_go
        self.phase = Phase.OPEN
        self.reset_code: int | None = None
        self.reset_by_peer = False
        # Receiving.
        self.window = ReceiveWindow()
        self.received_fin = False
        self.arriving: list[memoryview] | None = None  # pieces of the batch being received
        self.chunks: list[bytes] | None = None  # unread, oldest first; None costs an idle stream nothing
        self._offset = 0  # read position in chunks[0]
        self.buffered = 0  # unread bytes
        self.direct = False  # what arrives is offered to the shell before it is kept
        self.grant = 0  # window increments that wait to be written, merged into one WND_INC
        # Sending.
        self.send_window = INITIAL_WINDOW
        self.sliver = SLIVER  # less window than this holds back what does not fit into it
        self.outgoing: memoryview | None = None  # what the one sender wants sent: its own buffer, not a copy
        self.position = 0  # how much of it was framed
        self.cut_short = False  # a sender gave up: a FIN would pass for a clean end
        self.scheduled = False
        self.deficit = 0
        self.data_sent = 0
        self.blocked = 0.0  # seconds that data waited for window, up to the last time that some came
        self.blocked_since: float | None = None

    def advance(self, event: Event) -> bool:
        """Go through the table; False, and nothing changed, if the event is not legal now."""
        phase = next_phase(self.phase, event)
        if phase is None:
            return False
        self.phase = phase
        return True

    @property
    def wanted(self) -> bool:
        """Whether the stream is still of use to the application: not over, and not closed by it."""
        return not self.ended and self.phase is not Phase.CLOSING

    @property
    def ended(self) -> bool:
        """Whether the connection has forgotten the stream."""
        return self.phase is Phase.CLOSED or self.phase is Phase.GONE

    @property
    def may_send(self) -> bool:
        """Whether data may still be submitted."""
        return self.phase.sends

    @property
    def reads(self) -> bool:
        """Whether the peer's data is still wanted."""
        return self.phase.reads

    def settle(self) -> int:
        """Turn the pieces of the last batch, views of the read buffer, into one chunk: the only copy. Its size."""
        arriving = self.arriving
        self.arriving = None
        if not arriving:
            return 0
        chunk = bytes(arriving[0]) if len(arriving) == 1 else b"".join(arriving)
        chunks = self.chunks
        if chunks is None:
            self.chunks = [chunk]
        elif len(chunks[-1]) + len(chunk) <= MERGE_BELOW:
            chunks[-1] += chunk
        else:
            chunks.append(chunk)
        return len(chunk)

    def skip_arriving(self, count: int) -> None:
        """The first `count` bytes of the last batch were passed on, and need not be kept."""
        arriving = self.arriving
        assert arriving is not None
        self.buffered -= count
        index = 0
        while count and count >= len(arriving[index]):
            count -= len(arriving[index])
            index += 1
        del arriving[:index]
        if count:
            arriving[0] = arriving[0][count:]

    @property
    def held_back(self) -> bool:
        """Whether the window holds back what waits to be sent.

        It does also if it would let go a sliver of it. A peer that reads a little at a time, or means harm, gives
        window in crumbs; sending each in a frame of its own would cost both sides most for least (RFC 1122, 4.2.3.4).
        """
        window = self.send_window
        if window >= self.sliver:
            return False
        return window <= 0 or (self.outgoing is not None and window < len(self.outgoing) - self.position)

    def expect_crumbs(self) -> None:
        """This was all the window that came for long: the peer's windows are that small."""
        self.sliver = max(min(self.send_window, SLIVER), LEAST_SLIVER)

    def wait_for_window(self, now: float) -> None:
        """There is data to send and no window for it."""
        if self.blocked_since is None:
            self.blocked_since = now

    def window_came(self, now: float) -> float:
        """There is window again, or nobody waits for it any more: for how many seconds somebody did."""
        if self.blocked_since is None:
            return 0.0
        waited = now - self.blocked_since
        self.blocked += waited
        self.blocked_since = None
        return waited

    def take(self, max_bytes: int | None) -> bytes:
        """Remove and return unread bytes: the oldest chunk, at most `max_bytes` of it; b"" if there are none."""
        chunks = self.chunks
        if not chunks:
            return b""
        chunk = chunks[0]
        if max_bytes is None and len(chunk) == self.buffered and not self._offset:
            # One whole message: most often it is all there is.
            self.chunks = None
            self.buffered = 0
            return chunk
        start = self._offset
        stop = len(chunk) if max_bytes is None else min(len(chunk), start + max_bytes)
        if stop < len(chunk):
            self._offset = stop
            if 2 * stop > len(chunk) > MERGE_BELOW:  # what was read must not be held for long beside what comes for it
                chunks[0] = chunk[stop:]
                self._offset = 0
        else:
            self._offset = 0
            if len(chunks) == 1:
                self.chunks = None
            else:
                del chunks[0]
        data = chunk if stop - start == len(chunk) else chunk[start:stop]
        self.buffered -= stop - start
        return data

    def drop_unread(self) -> int:
        """Throw away what was not read; how many bytes that was."""
        dropped = self.buffered
        self.chunks = self.arriving = None
        self._offset = self.buffered = 0
        return dropped

    def reset(self, code: int, *, by_peer: bool) -> None:
        """Both directions end here. What was unread is lost, as the protocol says."""
        self.advance(Event.RESET)
        self.reset_code = code
        self.reset_by_peer = by_peer
        self.outgoing = None
        self.grant = 0
        self.drop_unread()

    @property
    def retryable(self) -> bool:
        """Whether the peer cannot have acted on the stream."""
        return self.reset_by_peer and self.reset_code == ErrorCode.REFUSED_STREAM

"""What was received: kept until the application takes it, which gives the peer window for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy._config import INITIAL_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from muxpy.frame import Buffer

    from ._changes import Changes, Counters
    from ._outbox import Outbox
    from ._stream import StreamState
    from ._window import Budget, ReceiveWindow

__all__ = ["Reading"]


class Reading:
    """The receiving direction of a connection's streams, from the rules to the application. All cores share it.

    `shrink` is called for a stream that may have no more use for what its window grew by.
    """

    __slots__ = ("_budget", "_clock", "_counters", "_outbox", "_read_at", "_shrink")

    def __init__(
        self,
        outbox: Outbox,
        counters: Counters,
        budget: Budget,
        clock: Callable[[], float],
        shrink: Callable[[StreamState], None],
    ) -> None:
        self._outbox = outbox
        self._counters = counters
        self._budget = budget
        self._clock = clock
        self._shrink = shrink
        self._read_at = 0.0  # when the bytes came that are being settled

    def settle(self, arrived: Iterable[StreamState], changes: Changes) -> None:
        """Keep the bytes that arrived in one read, as one chunk for each stream. That is the only copy on the way in;
        for a stream that is read directly, the shell gets the views first.

        A stream may be among them for something else that is new: then it has no bytes.
        """
        now = self._read_at = self._clock()
        rtt = self._budget.rtt
        total = 0
        for stream in arrived:
            incoming = stream.incoming
            if incoming.arriving is None:  # the stream was reset after this
                continue
            if incoming.direct and incoming.arriving and not incoming.chunks:
                changes.direct.append(stream)
                continue
            if count := incoming.settle():
                total += count
                incoming.arrived(count, incoming.buffered == count, now, rtt, more=stream.phase.reads)
            changes.readable.append(stream)
        self._counters.data_received += total

    def keep(self, stream: StreamState, data: Buffer, now: float) -> bool:
        """Keep the bytes that one read has brought for one stream alone: `settle` for these. Returns False, and does
        nothing, if they are more than the window, or if others are unread."""
        incoming, size = stream.incoming, len(data)
        if size > incoming.available or incoming.chunks is not None or incoming.direct:
            return False
        incoming.available -= size
        incoming.buffered = size
        incoming.chunks = [bytes(data)]
        incoming.arrived(size, True, now, self._budget.rtt)
        self._counters.data_received += size
        return True

    def read(self, stream: StreamState, max_bytes: int | None) -> bytes:
        """See Core.read."""
        incoming = stream.incoming
        data = incoming.read(max_bytes)
        incoming.owed += len(data)
        if incoming.owed >= incoming.due_at or incoming.size != INITIAL_WINDOW:  # asked here: most reads end here
            self.consumed(stream, incoming)
        return data

    def pass_on(self, stream: StreamState, count: int) -> None:
        """See Core.pass_on."""
        incoming = stream.incoming
        total = incoming.buffered
        if count == total:  # nearly always
            incoming.arriving = None
            incoming.buffered = 0
        else:
            incoming.skip_arriving(count)
            incoming.settle()
        incoming.arrived(total, True, self._read_at, self._budget.rtt)
        self._counters.data_received += total
        incoming.owed += count
        if incoming.owed >= incoming.due_at or incoming.size != INITIAL_WINDOW:  # as in `read`
            self.consumed(stream, incoming)

    def consumed(self, stream: StreamState, window: ReceiveWindow) -> None:
        """Bytes were taken, and are owed to the peer as window: give it when enough has come together."""
        if not stream.phase.reads:
            self._shrink(stream)
        elif window.owed >= window.due_at:
            self._outbox.update_window(stream, window.increment(self._clock(), self._budget))
            self._counters.largest_window = max(self._counters.largest_window, window.size)

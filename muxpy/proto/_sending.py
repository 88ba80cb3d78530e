"""What waits to be sent: frames that are made already, then data in the scheduler's order.

    submit        -> the scheduler's line -> next_batch     any data
    submit_small  -> Outbox               -> next_batch     a small message, as long as no data stands in line
    Outbox.put    -> Outbox               -> next_batch     control frames

All cores share it. They differ in `Framing`, and in what lets a stream send (`open_window`, `Scheduler.credit`).
"""

from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from muxpy._config import SessionConfig

from ._batch import Batch
from ._changes import Counters
from ._outbox import Framing, Outbox
from ._outgoing import Outgoing
from ._scheduler import Scheduler
from ._stream import StreamState

if TYPE_CHECKING:
    from muxpy.frame import Buffer

__all__ = ["CRUMB_WAIT", "Sending"]

CRUMB_WAIT: Final = 0.2
"""Seconds that a crumb of window may hold data back: silly window avoidance, Nagle's idea for windows. A peer that
reads on soon gives more window. One whose window is meant to be that small must still get data: it may give window back
only when all of it is used. RFC 1122, 4.2.3.4, asks for 0.1 to 1 s."""


class Sending:
    """The sending side of one connection."""

    __slots__ = ("_clock", "_counters", "_crumbs", "_data_header", "_framing", "outbox", "scheduler")

    def __init__(self, config: SessionConfig, counters: Counters, framing: Framing, clock: Callable[[], float]) -> None:
        self.outbox = Outbox(config, counters, framing)
        self.scheduler = Scheduler(framing)
        self._counters = counters
        self._framing = framing
        self._data_header = framing.data_header
        self._clock = clock
        self._crumbs: dict[StreamState, float] = {}  # streams that a crumb of window holds back, and until when

    # ---- what the application sends ----

    def submit(self, stream: StreamState, data: memoryview, *, end: bool = False) -> None:
        """Put `data` in line to be sent. The caller keeps the buffer unchanged until a written batch lists the stream
        as done, or until it has called `withdraw` and, for the batch that is being written, `Batch.own`.

        With `end`, the frame with the last byte also ends the direction (half-close): `Core.finish`, which has to
        follow when all is sent, then needs no frame of its own.
        """
        outgoing = stream.outgoing
        if outgoing is None:
            outgoing = stream.outgoing = Outgoing()
        stream.ends = end
        outgoing.data = data
        outgoing.position = 0
        self._line_up(stream, outgoing)

    def submit_small(self, stream: StreamState, data: bytes | bytearray, end: bool = False) -> bool:
        """Frame a copy of `data` for the next batch, if there is window for it and no data in line that it would
        overtake. Returns False if not: then `submit` it. `end` as for `submit`."""
        frame = self._frame_small(stream, data, end)
        if frame is None:
            return False
        outbox = self.outbox
        if not end:  # otherwise it may have to end the direction later
            outbox.last_small[stream.id] = len(outbox.framed)
        outbox.framed += frame
        outbox.small_frames += 1
        return True

    def small_alone(self, stream: StreamState, data: bytes | bytearray, end: bool = False) -> bytes | None:
        """`submit_small` and `next_batch` in one, for a message beside which nothing waits to be written: its frame is
        all that there is to write. Returns None if something waits, or if the message must stand in line."""
        outbox = self.outbox
        if outbox.framed or outbox.updates:
            return None
        frame = self._frame_small(stream, data, end)
        if frame is not None:
            self._counters.frames_sent += 1
        return frame

    def _frame_small(self, stream: StreamState, data: bytes | bytearray, end: bool) -> bytes | None:
        size = len(data)
        scheduler = self.scheduler
        if (
            scheduler.waiting
            or size > stream.send_window
            or size > self._framing.max_payload
            or size > scheduler.credit
        ):
            return None
        stream.ends = end
        stream.send_window -= size
        stream.sent += size
        scheduler.credit -= size
        self._counters.data_sent += size
        return self._data_header(stream.id, size, end) + data

    def withdraw(self, stream: StreamState) -> None:
        """The sender gave up: data that is not framed yet will not be sent, so what the peer gets may be a part."""
        stream.cut_short = True
        stream.ends = False
        outgoing = stream.outgoing
        if outgoing is None:
            return
        outgoing.data = None
        if self.scheduler.credit <= 0:
            self.scheduler.remove(stream)
        self._counters.blocked_on_window += outgoing.window_came(self._clock())

    # ---- what the peer lets us send ----

    def open_window(self, stream: StreamState, increment: int) -> bool:
        """The peer's window for the stream grows, or shrinks. Returns whether it was used up and is now open."""
        was_shut = stream.send_window <= 0
        stream.send_window += increment
        if stream.outgoing is not None:
            self._line_up(stream, stream.outgoing)
        return was_shut and stream.send_window > 0

    def _line_up(self, stream: StreamState, outgoing: Outgoing) -> None:
        """Put the stream's data in line, or let it wait for window; a crumb of window holds it back for CRUMB_WAIT."""
        crumbs = self._crumbs
        if outgoing.held_back(stream.send_window):
            if not outgoing.scheduled:  # if it is in line already, it sends that crumb, and then waits with no window
                now = self._clock()
                outgoing.wait_for_window(now)
                if stream.send_window > 0:
                    crumbs.setdefault(stream, now + CRUMB_WAIT)
                else:
                    crumbs.pop(stream, None)  # the peer has taken the crumb back
        else:
            if crumbs:
                crumbs.pop(stream, None)
            if outgoing.blocked_since is not None:
                self._counters.blocked_on_window += outgoing.window_came(self._clock())
            self.scheduler.add(stream)

    # ---- what the writer asks ----

    @property
    def has_output(self) -> bool:
        """Whether `next_batch` may have something."""
        outbox, scheduler = self.outbox, self.scheduler
        return bool(outbox.framed or outbox.updates or (scheduler.waiting and scheduler.credit > 0))

    def needs_writer(self) -> bool:
        """Whether there is something to write, now or when a crumb of window has held data back for long enough."""
        outbox, scheduler = self.outbox, self.scheduler  # as in `has_output`, in one call: each read and write asks
        return bool(outbox.framed or outbox.updates or self._crumbs or (scheduler.waiting and scheduler.credit > 0))

    @property
    def crumbs_due(self) -> float | None:
        """When `next_batch` sends the data that a crumb of window holds back; None if no crumb does. The rules have no
        timers of their own, so the writer's task sleeps no longer than that."""
        return next(iter(self._crumbs.values())) if self._crumbs else None

    def next_batch(self, limit: int, quanta: int = 1, exact: bool = True) -> Batch | None:
        """The next bytes to write: all frames that are made, and about `limit` bytes of data. None if there are none.

        `quanta`: how many a stream in line may send in its turn, at weight 1. `exact`: end the batch early rather than
        give other streams the turn of one that may come back to it.
        """
        chunks: list[Buffer] = []
        done: list[StreamState] = []
        if self._crumbs:
            self._send_crumbs()
        frames = size = 0
        outbox, scheduler = self.outbox, self.scheduler
        if outbox.framed or outbox.updates:
            framed, frames = outbox.empty()
            if framed:
                chunks.append(framed)
                size = len(framed)
        if scheduler.waiting:
            before = len(chunks)
            data_size = scheduler.fill(chunks, limit, done, self._clock, quanta=quanta, exact=exact)
            data_frames = (len(chunks) - before) // 2  # a header and a payload each
            self._counters.data_sent += data_size - data_frames * self._framing.header_size
            size += data_size
            frames += data_frames
        self._counters.frames_sent += frames
        return Batch(chunks, done, size) if chunks else None

    def _send_crumbs(self) -> None:
        """Put data in line that a crumb of window has held back for long enough."""
        now = self._clock()
        for stream in list(takewhile(lambda stream: self._crumbs[stream] <= now, self._crumbs)):
            del self._crumbs[stream]
            if stream.outgoing is not None:
                stream.outgoing.expect_crumbs(stream.send_window)
            self.scheduler.add(stream)

"""A muxado connection, sans I/O: ids, the stream map, what each frame does, GOAWAY both ways.

`receive`, in _receiving, is what the peer does to us; the methods here are what the application does, and what the
shell may ask.
"""

from itertools import takewhile

from muxpy._codes import ErrorCode
from muxpy.frame import MAX_ID, encode_data_header, encode_goaway, encode_syn

from ._limits import MAX_REASON
from ._outbox import Batch
from ._receiving import Receiving
from ._state import Event, Phase
from ._stream import StreamState

__all__ = ["Connection"]


class Connection(Receiving):
    """One side of a muxado connection.

    `clock` tells the time in seconds, from any start. `extension_types`: the stream types >= MIN_EXTENSION_TYPE that
    have a taker.
    """

    # ---- what the shell may ask ----

    @property
    def rtt(self) -> float | None:
        """The smallest recent round trip in seconds; None if not measured yet."""
        return self._budget.rtt.best

    @property
    def latest_rtt(self) -> float | None:
        """The round trip measured last, in seconds."""
        return self._budget.rtt.latest

    @property
    def receive_budget_left(self) -> int:
        """Bytes by which windows may still grow."""
        return self._budget.left

    @property
    def open_streams(self) -> int:
        """Streams that live, those of extensions left out."""
        return self._table.open_streams

    @property
    def control_frames(self) -> int:
        """Control frames waiting to be written."""
        return self._outbox.control_frames

    @property
    def small_frames(self) -> int:
        """Small messages that are framed and wait for the next batch."""
        return self._outbox.small_frames

    @property
    def waiting_to_send(self) -> int:
        """Streams that stand in line with data and window."""
        return self._outbox.scheduler.waiting

    @property
    def has_output(self) -> bool:
        """Whether `next_batch` may have something."""
        return bool(self._outbox)

    @property
    def needs_writer(self) -> bool:
        """Whether there is something to write, now or when a crumb of window has held it back for long enough."""
        return bool(self._outbox or self._crumbs)

    @property
    def crumbs_due(self) -> float | None:
        """When `next_batch` has what a crumb of window holds back; None if none does."""
        return next(iter(self._crumbs.values())) if self._crumbs else None

    def release_crumbs(self) -> None:
        """What was held back by a crumb of window for long enough may be sent."""
        now = self._clock()
        for stream in list(takewhile(lambda stream: self._crumbs[stream] <= now, self._crumbs)):
            del self._crumbs[stream]
            stream.expect_crumbs()
            self._outbox.scheduler.add(stream)

    def is_local(self, stream_id: int) -> bool:
        """Whether this side opens streams of this id."""
        return self._table.is_local(stream_id)

    @property
    def used_up(self) -> bool:
        """Whether this side has no stream id left."""
        return not self._table.ids_left

    @property
    def can_open(self) -> bool:
        """Whether the peer takes new streams, and an id is left."""
        return self.error is None and self.remote_goaway is None and self._table.ids_left

    # ---- what the application does ----

    def open(self, priority: int = 0, stream_type: int = 0, *, fin: bool = False) -> StreamState:
        """Open a stream; ask `can_open` first."""
        stream = self._table.add_local(priority, stream_type)
        if fin:
            stream.advance(Event.SEND_FIN)
        self.counters.opened += 1
        self._outbox.put(encode_syn(stream.id, priority, stream_type, fin=fin), counts=False)
        if not self._table.ids_left:
            # What needs more streams needs another session: say so, rather than wait to be asked for one more.
            self.go_away(ErrorCode.NO_ERROR, b"stream ids are used up")
        return stream

    def accepted(self, stream: StreamState, *, hold: bool = False) -> None:
        """The application has taken a stream that the peer opened: its place in the backlog is free again.

        With `hold` it counts as open until `let_go`, even if it ends: resets must not free work that still runs.
        """
        self._unaccepted -= not stream.extension
        if not hold:
            self._table.let_go(stream)

    def let_go(self, stream: StreamState) -> None:
        """The work for a stream that was held has ended."""
        self._table.let_go(stream)

    def submit(self, stream: StreamState, data: memoryview) -> None:
        """Stand `data` in line to be sent; the caller keeps the buffer unchanged until a batch lists it as done."""
        stream.outgoing = data
        stream.position = 0
        self._line_up(stream)

    def submit_small(self, stream: StreamState, data: bytes | bytearray) -> bool:
        """Frame a copy of `data` for the next batch, if it need not stand in line. False: `submit` it."""
        return self._outbox.put_small(stream, data)

    def withdraw(self, stream: StreamState) -> None:
        """The sender gave up: what was not framed yet will not be sent, and what was may be a part."""
        stream.cut_short = True
        stream.outgoing = None
        self.counters.blocked_on_window += stream.window_came(self._clock())

    def pass_on(self, stream: StreamState, count: int) -> None:
        """Of a stream in `Changes.direct`, the first `count` bytes that arrived have been passed on; keep the others.

        To be called before anything else is received: until then, `StreamState.arriving` are views of what was.
        """
        total = stream.buffered
        if count:
            stream.skip_arriving(count)
        stream.settle()
        stream.window.arrived(total, True, self._clock(), self._budget.rtt)
        self.counters.data_received += total
        self._consumed(stream, count)

    def take(self, stream: StreamState, max_bytes: int | None) -> bytes:
        """Take unread bytes, and give the peer window for them when enough has come together."""
        data = stream.take(max_bytes)
        self._consumed(stream, len(data))
        return data

    def _consumed(self, stream: StreamState, count: int) -> None:
        if stream.phase.reads:
            if stream.window.due(count):
                self._give_window(stream)
        elif not stream.buffered:
            self._table.release(stream)

    def _give_window(self, stream: StreamState) -> None:
        increment = stream.window.give(self._clock(), self._budget)
        self._outbox.grant(stream, increment)
        self.counters.largest_window = max(self.counters.largest_window, stream.window.size)

    def finish(self, stream: StreamState) -> bool:
        """End our direction; nothing may be submitted and unsent. False if it had ended already."""
        if not stream.advance(Event.SEND_FIN):
            return False
        self._send_fin(stream)
        return True

    def close(self, stream: StreamState) -> None:
        """End our direction and read no more. Data that still comes is answered by RST CANCEL.

        A stream whose last send was cut short is reset instead: a FIN would make it look whole.
        """
        if stream.cut_short and stream.may_send:
            self.reset(stream, ErrorCode.CANCEL)
            return
        had_window = stream.reads
        sends_fin = stream.may_send
        closed = stream.advance(Event.CLOSE)
        dropped = stream.drop_unread()
        if not closed:
            self._table.release(stream)
            return
        if stream.phase is Phase.CLOSING and (overdue := self._table.note_closing(stream)) is not None:
            self.reset(overdue, ErrorCode.CANCEL)
        self._table.release(stream)
        if stream.phase is Phase.CLOSING and had_window and dropped:
            # A peer that waits for window would wait for ever: with some, it sends, and learns by our RST.
            self._outbox.grant(stream, dropped)
            stream.window.available += dropped
        if sends_fin:
            self._send_fin(stream)
        else:
            self._forget_if_ended(stream)

    def reset(self, stream: StreamState, code: int) -> None:
        """End both directions at once, and drop what is unread. A stream that has ended sends nothing."""
        if stream.ended:
            stream.drop_unread()
            self._table.release(stream)
            return
        stream.reset(code, by_peer=False)
        self._send_rst(stream.id, code, counts=not self._table.is_local(stream.id))
        self._table.forget(stream)

    def go_away(self, code: int, debug: bytes = b"", *, final: bool = True) -> bool:
        """Tell the peer to open no more streams. False if that was said before.

        Unless it is `final`, streams that the peer opens before it has read this are taken: another one, which is,
        may follow.
        """
        if self.goaway_sent or (self.goaway_announced and not final):
            return False
        last_id = self._table.last_remote if final else MAX_ID
        self._outbox.put(encode_goaway(last_id, code, debug[:MAX_REASON]))
        self.goaway_announced = True
        self.goaway_sent = final
        return True

    def sample_rtt(self, rtt: float) -> None:
        """Take a round trip that a heartbeat measured."""
        self._budget.rtt.sample(rtt, self._clock())

    def next_batch(self, limit: int, *, turn: int = 1, exact: bool = True) -> Batch | None:
        """The next bytes to write, about `limit` of them; None if there are none now.

        `turn`: how many quanta a stream in line may send at a time, for weight 1. `exact`: rather end early than give
        others the turn of a stream that may come back to it.
        """
        if self._crumbs:
            self.release_crumbs()
        return self._outbox.next_batch(limit, self._clock, turn=turn, exact=exact)

    def _send_fin(self, stream: StreamState) -> None:
        self._outbox.put(encode_data_header(stream.id, 0, fin=True), counts=not self._table.is_local(stream.id))
        self._forget_if_ended(stream)

    def _forget_if_ended(self, stream: StreamState) -> None:
        if stream.ended:
            self._table.forget(stream)

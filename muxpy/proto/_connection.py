"""A muxado connection, sans I/O: ids, the stream map, what each frame does, GOAWAY both ways.

`receive` is what the peer does to us; the methods after it are what the application does. Legality is decided
before anything changes. A rule broken by the peer is a stream reset (`_reset`) where the protocol says so and a
ProtocolError otherwise, which `receive` turns into one GOAWAY; after that the connection takes nothing more.
"""

from collections.abc import Callable, Collection

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._config import SessionConfig
from muxpy.frame import (
    DATA,
    FIN,
    GOAWAY,
    MAX_WINDOW,
    MIN_EXTENSION_TYPE,
    RST,
    SYN,
    Buffer,
    Decoder,
    encode_data_header,
    encode_goaway,
    encode_rst,
    encode_syn,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)

from ._changes import Changes, Counters, RemoteGoAway
from ._limits import MAX_REASON
from ._outbox import Batch, Outbox
from ._state import Event, Phase
from ._stream import StreamState
from ._table import StreamTable
from ._window import Budget

__all__ = ["Connection"]


class Connection:
    """One side of a muxado connection.

    `clock` tells the time in seconds, from any start. `extension_types`: the stream types >= MIN_EXTENSION_TYPE that
    have a taker.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        client: bool,
        clock: Callable[[], float],
        extension_types: Collection[int] = (),
    ) -> None:
        self.error: ProtocolError | None = None
        self.remote_goaway: RemoteGoAway | None = None
        self.goaway_sent = False
        self.counters = Counters()
        self._config = config
        self._clock = clock
        self._extension_types = frozenset(extension_types)
        self._decoder = Decoder()
        self._outbox = Outbox(config.max_control_frames, self.counters)
        self._budget = Budget(config)
        self._table = StreamTable(config, self._budget, client=client)
        self.streams = self._table.live
        self._unaccepted = 0  # streams reported as opened and not yet taken by the application

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
    def can_open(self) -> bool:
        """Whether the peer takes new streams, and an id is left."""
        return self.error is None and self.remote_goaway is None and self._table.ids_left

    # ---- what the peer does ----

    def receive(self, data: Buffer) -> Changes:
        """Take received bytes. Sets `error` if they break the session."""
        changes = Changes()
        if self.error is not None:
            return changes
        arrived: list[StreamState] = []
        frames = 0
        streams = self.streams
        try:
            self._outbox.check()
            for kind, flags, stream_id, body, rest in self._decoder.feed(data):
                if kind == DATA:
                    stream = streams.get(stream_id)
                    if stream is None:
                        self._data_for_forgotten(stream_id)
                    else:
                        self._on_data(stream, flags, body, rest, arrived, changes)
                    if rest:
                        continue
                elif kind == SYN:
                    self._on_syn(stream_id, flags, body, changes)
                elif kind == GOAWAY:
                    self._on_goaway(body, changes)
                else:
                    self._on_control(kind, stream_id, body, changes)
                frames += 1
        except ProtocolError as error:
            self.fail(error)
        self.counters.frames_received += frames
        if arrived:
            self._settle(arrived, changes)
        return changes

    def _settle(self, arrived: list[StreamState], changes: Changes) -> None:
        """Keep what arrived, one chunk for each stream."""
        now = self._clock()
        rtt = self._budget.rtt
        total = 0
        for stream in arrived:
            if stream.arriving is None:  # reset after the data
                continue
            if stream.direct and not stream.chunks:
                changes.direct.append(stream)
                continue
            count = stream.settle()
            total += count
            stream.window.arrived(count, stream.buffered == count, now, rtt)
            changes.readable.append(stream)
        self.counters.data_received += total

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

    def receive_eof(self) -> bool:
        """The transport ended. True if it ended in order: on a frame boundary and after the peer's GOAWAY."""
        if self._decoder.mid_frame:
            self.fail(ProtocolError(ErrorCode.PROTOCOL_ERROR, "the transport ended in the middle of a frame"))
        return self.remote_goaway is not None and self.error is None

    def _on_syn(self, stream_id: int, flags: int, body: memoryview, changes: Changes) -> None:
        self._table.note_remote(stream_id)
        priority, stream_type = parse_syn(flags, body)
        extension = stream_type >= MIN_EXTENSION_TYPE
        if extension and stream_type not in self._extension_types:
            self._send_rst(stream_id, ErrorCode.STREAM_CLOSED)
            return
        if self.goaway_sent or self._full(extension):
            self.counters.refused += 1
            self._send_rst(stream_id, ErrorCode.REFUSED_STREAM)
            return
        stream = self._table.add_remote(stream_id, priority, stream_type)
        if flags & FIN:
            stream.received_fin = stream.advance(Event.RECV_FIN)
        self._unaccepted += not extension
        self.counters.accepted += 1
        changes.opened.append(stream)

    def _full(self, extension: bool) -> bool:
        """Whether there is no room for one more stream of the peer."""
        if extension:  # not refused for the application's streams: the Go peer ends a session without a heartbeat
            return self._table.full_of_extensions
        return self._table.full or self._unaccepted >= self._config.accept_backlog

    def _on_data(
        self,
        stream: StreamState,
        flags: int,
        body: memoryview,
        rest: int,
        arrived: list[StreamState],
        changes: Changes,
    ) -> None:
        size = len(body)
        if stream.phase.reads:
            window = stream.window
            if size + rest > window.available:  # for the whole frame, before any of it is kept
                self._reset(stream, ErrorCode.FLOW_CONTROL_ERROR, changes)
                return
            if size:
                window.available -= size
                stream.buffered += size
                if stream.arriving is None:
                    stream.arriving = []
                    arrived.append(stream)
                stream.arriving.append(body)
        elif stream.phase is Phase.REMOTE_DONE:
            # The Go peer says FIN twice when it half-closes and then closes. An empty one carries nothing, and a
            # reset for it would throw away what the application has not read yet.
            if size or not flags & FIN:
                self._reset(stream, ErrorCode.STREAM_CLOSED, changes)
            return
        elif size or not flags & FIN:  # CLOSING: a bare FIN is all that is still welcome
            self._reset(stream, ErrorCode.CANCEL, changes)
            return
        if flags & FIN and not rest:
            stream.received_fin = True
            stream.advance(Event.RECV_FIN)
            if stream.ended:
                self._table.forget(stream)
            else:
                self._table.release(stream)
            if stream.arriving is None:
                changes.readable.append(stream)

    def _data_for_forgotten(self, stream_id: int) -> None:
        self._table.require_known(stream_id, "STREAM_DATA")
        if stream_id not in self._table.recent_resets:
            self._send_rst(stream_id, ErrorCode.STREAM_CLOSED)

    def _on_control(self, kind: int, stream_id: int, body: memoryview, changes: Changes) -> None:
        """RST and WND_INC: both are ignored for a stream that has ended."""
        stream = self.streams.get(stream_id)
        if stream is None:
            self._table.require_known(stream_id, "STREAM_RST" if kind == RST else "STREAM_WND_INC")
        elif kind == RST:
            stream.reset(parse_code(body), by_peer=True)
            self._table.forget(stream)
            changes.reset.append(stream)
        else:
            self._on_wnd_inc(stream, parse_increment(body), changes)

    def _on_wnd_inc(self, stream: StreamState, increment: int, changes: Changes) -> None:
        if increment == 0:
            self._reset(stream, ErrorCode.PROTOCOL_ERROR, changes)
        elif stream.send_window + increment > MAX_WINDOW:
            self._reset(stream, ErrorCode.FLOW_CONTROL_ERROR, changes)
        else:
            self.counters.window_updates_received += 1
            if stream.send_window <= 0:
                changes.writable.append(stream)
                self.counters.blocked_on_window += stream.window_came(self._clock())
            stream.send_window += increment
            self._outbox.scheduler.add(stream)

    def _on_goaway(self, body: memoryview, changes: Changes) -> None:
        last_id, code, debug = parse_goaway(body)
        if self.remote_goaway is not None:  # what was given up stays so
            last_id = min(last_id, self.remote_goaway.last_id)
        self.remote_goaway = RemoteGoAway(last_id, code, debug[:MAX_REASON])
        for stream in self._table.local_above(last_id):  # not handled by the peer: safe to try elsewhere
            stream.reset(ErrorCode.REFUSED_STREAM, by_peer=True)
            self._table.forget(stream)
            changes.reset.append(stream)

    def _reset(self, stream: StreamState, code: ErrorCode, changes: Changes) -> None:
        """Answer a broken rule of the peer."""
        stream.reset(code, by_peer=False)
        self._send_rst(stream.id, code)
        self._table.forget(stream)
        changes.reset.append(stream)

    def _send_rst(self, stream_id: int, code: int, *, counts: bool = True) -> None:
        self._outbox.put(encode_rst(stream_id, code), counts=counts)
        self._table.recent_resets.add(stream_id)

    def fail(self, error: ProtocolError) -> None:
        """End the connection with a GOAWAY that says why. Only the first error counts."""
        if self.error is None:
            self.error = error
            self._outbox.put(encode_goaway(self._table.last_remote, error.code, error.reason.encode()[:MAX_REASON]))
            self.goaway_sent = True

    # ---- what the application does ----

    def open(self, priority: int = 0, stream_type: int = 0, *, fin: bool = False) -> StreamState:
        """Open a stream; ask `can_open` first."""
        stream = self._table.add_local(priority, stream_type)
        if fin:
            stream.advance(Event.SEND_FIN)
        self.counters.opened += 1
        self._outbox.put(encode_syn(stream.id, priority, stream_type, fin=fin), counts=False)
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
        if stream.send_window <= 0:
            stream.wait_for_window(self._clock())
        else:
            self._outbox.scheduler.add(stream)

    def submit_small(self, stream: StreamState, data: bytes | bytearray) -> bool:
        """Frame a copy of `data` for the next batch, if it need not stand in line. False: `submit` it."""
        return self._outbox.put_small(stream, data)

    def withdraw(self, stream: StreamState) -> None:
        """The sender gave up: what was not framed yet will not be sent, and what was may be a part."""
        stream.cut_short = True
        stream.outgoing = None
        self.counters.blocked_on_window += stream.window_came(self._clock())

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

    def go_away(self, code: int, debug: bytes = b"") -> bool:
        """Tell the peer to open no more streams. False if that was said before."""
        if self.goaway_sent:
            return False
        self._outbox.put(encode_goaway(self._table.last_remote, code, debug[:MAX_REASON]))
        self.goaway_sent = True
        return True

    def sample_rtt(self, rtt: float) -> None:
        """Take a round trip that a heartbeat measured."""
        self._budget.rtt.sample(rtt, self._clock())

    def next_batch(self, limit: int, *, turn: int = 1, exact: bool = True) -> Batch | None:
        """The next bytes to write, about `limit` of them; None if there are none now.

        `turn`: how many quanta a stream in line may send at a time, for weight 1. `exact`: rather end early than give
        others the turn of a stream that may come back to it.
        """
        return self._outbox.next_batch(limit, self._clock, turn=turn, exact=exact)

    def _send_fin(self, stream: StreamState) -> None:
        self._outbox.put(encode_data_header(stream.id, 0, fin=True), counts=not self._table.is_local(stream.id))
        self._forget_if_ended(stream)

    def _forget_if_ended(self, stream: StreamState) -> None:
        if stream.ended:
            self._table.forget(stream)

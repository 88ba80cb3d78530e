"""What the peer does to a connection: each frame's rule, and what changes by it.

Legality is decided before anything changes. A rule broken by the peer is a stream reset (`_reset`) where the protocol
says so and a ProtocolError otherwise, which `receive` turns into one GOAWAY; after that nothing more is taken.
"""

from collections.abc import Callable, Collection
from math import inf
from typing import Final

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._config import SessionConfig
from muxpy.frame import (
    DATA,
    FIN,
    GOAWAY,
    HEADER_SIZE,
    MAX_WINDOW,
    MIN_EXTENSION_TYPE,
    RST,
    SYN,
    Buffer,
    Decoder,
    encode_goaway,
    looks_like,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)

from ._changes import Changes, Counters, RemoteGoAway
from ._limits import LOGIN_FRAMES, MAX_REASON, START, WAKE, TokenBucket, reset_buckets, too_much_before_login
from ._outbox import Outbox
from ._state import Event, Phase
from ._stream import StreamState
from ._table import StreamTable
from ._window import Budget

__all__ = ["Receiving"]

CRUMB_WAIT: Final = 0.2
"""Seconds that a crumb of window may hold data back. A peer that reads on gives more at once; one whose window is meant
to be that small must still get something. RFC 1122, 4.2.3.4, has 0.1 to 1 s."""


class Receiving:
    """The half of a Connection that takes what was received."""

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
        self.goaway_announced = False
        self.goaway_sent = False  # and no more streams are taken
        self.refusing = False  # the application takes none for now; extensions do
        self.counters = Counters()
        self._config = config
        self._clock = clock
        self._extension_types = frozenset(extension_types)
        self._decoder = Decoder()
        self._outbox = Outbox(config, self.counters)
        self._stranger = config.wants_login
        self._budget = Budget(config)
        self._table = StreamTable(config, self._budget, client=client)
        self.streams = self._table.live
        self._most_unaccepted = config.accept_backlog
        self._unaccepted = 0  # streams reported as opened and not yet taken by the application
        self._resets, self._provoked = reset_buckets(config.reset_burst, config.reset_rate, clock)
        self._crumbs: dict[StreamState, float] = {}  # held back by a crumb of window, until when
        self._opening: bytearray | None = bytearray()  # the first bytes, until a frame was whole
        self._work = 0  # what the frames of this call cost beyond themselves
        self._cut = False  # the last call left a rest

    # ---- what the peer does ----

    def receive(self, data: Buffer, most: float = inf) -> Changes:
        """Take received bytes; sets `error` if they break the session.

        Stops when acting on them comes to `most` units of work: frames cost time that others wait for, bytes do not.
        `Changes.rest` is what it did not come to.
        """
        changes = Changes()
        if self.error is not None:
            return changes
        arrived: list[StreamState] = []
        frames = 0
        self._work = 0
        if self._stranger:
            most = min(most, LOGIN_FRAMES)
        streams = self.streams
        if self._opening is not None:
            self._note_opening(data)
        try:
            if not self._cut:  # of one read, nothing may have been written yet
                self._outbox.check()
            self._cut = False
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
                if frames + self._work >= most:
                    changes.rest = memoryview(data)[self._decoder.position :]
                    self._cut = bool(changes.rest)
                    break
        except ProtocolError as error:
            self.fail(error)
        self.counters.frames_received += frames
        if self._stranger and self.counters.frames_received > LOGIN_FRAMES:
            self.fail(too_much_before_login(f"{LOGIN_FRAMES} frames"))
        if arrived:
            self._settle(arrived, changes)
        return changes

    def _note_opening(self, data: Buffer) -> None:
        if self.counters.frames_received:
            self._opening = None
        elif self._opening is not None and len(self._opening) < HEADER_SIZE:
            self._opening += data[:HEADER_SIZE]

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

    def admit(self) -> None:
        """The peer has shown who it is: what `wants_login` holds it to is lifted."""
        if self._stranger:
            self._stranger = False
            self._budget.left = self._config.receive_budget

    def allow_streams(self, most: int) -> None:
        """The peer may have so many streams open from now on, and as many may wait to be accepted."""
        self._table.most = self._most_unaccepted = most
        self._outbox.expect_streams(most)

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        """Take the peer's resets, and those that it provokes, from these from now on: other connections do so too."""
        self._resets, self._provoked = resets, provoked

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
            self._provoked.take()
            self._send_rst(stream_id, ErrorCode.STREAM_CLOSED)
            return
        if self.goaway_sent or (self.refusing and not extension) or self._full(extension):
            self.counters.refused += 1
            self._send_rst(stream_id, ErrorCode.REFUSED_STREAM)
            return
        self._work += START
        stream = self._table.add_remote(stream_id, priority, stream_type)
        if flags & FIN:
            stream.received_fin = stream.advance(Event.RECV_FIN)
        self._unaccepted += not extension
        self.counters.accepted += 1
        changes.opened.append(stream)

    def _full(self, extension: bool) -> bool:
        """Whether there is no room for one more stream of the peer."""
        if self._stranger:
            return self._table.has_remote(extension)
        if extension:  # not refused for the application's streams: the Go peer ends a session without a heartbeat
            return self._table.full_of_extensions
        return self._table.full or self._unaccepted >= self._most_unaccepted

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
                    self._work += WAKE
                stream.arriving.append(body)
            elif not flags & FIN and not rest:
                self._resets.take()  # nobody sends empty frames for nothing; this one does nothing and takes time
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
                self._work += WAKE

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
            if not self._table.is_local(stream_id):
                self._resets.take()
            stream.reset(parse_code(body), by_peer=True)
            self._table.forget(stream)
            changes.reset.append(stream)
            self._work += WAKE
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
                self._work += WAKE
            stream.send_window += increment
            self._line_up(stream)

    def _line_up(self, stream: StreamState) -> None:
        """What waits to be sent stands in line, or waits for window; for more than a crumb of it only for so long."""
        crumbs = self._crumbs
        if stream.held_back:
            if not stream.scheduled:  # else it sends that yet, and waits with none
                now = self._clock()
                stream.wait_for_window(now)
                if stream.send_window > 0:
                    crumbs.setdefault(stream, now + CRUMB_WAIT)
        else:
            if crumbs:
                crumbs.pop(stream, None)
            if stream.blocked_since is not None:
                self.counters.blocked_on_window += stream.window_came(self._clock())
            self._outbox.scheduler.add(stream)

    def _on_goaway(self, body: memoryview, changes: Changes) -> None:
        last_id, code, debug = parse_goaway(body)
        if self.remote_goaway is not None:  # what was given up stays so
            self._resets.take()  # Go's says it twice, if it closes after going away; nobody needs it often
            last_id = min(last_id, self.remote_goaway.last_id)
        self.remote_goaway = RemoteGoAway(last_id, code, debug[:MAX_REASON])
        for stream in self._table.local_above(last_id):  # not handled by the peer: safe to try elsewhere
            stream.reset(ErrorCode.REFUSED_STREAM, by_peer=True)
            self._table.forget(stream)
            changes.reset.append(stream)
            self._work += WAKE

    def _reset(self, stream: StreamState, code: ErrorCode, changes: Changes) -> None:
        """Answer a broken rule of the peer, or its data for a stream that the application has closed (CANCEL)."""
        if code is not ErrorCode.CANCEL:  # that it was closed is not the peer's doing
            self._provoked.take()
        stream.reset(code, by_peer=False)
        self._send_rst(stream.id, code)
        self._table.forget(stream)
        changes.reset.append(stream)
        self._work += WAKE

    def _send_rst(self, stream_id: int, code: int, *, counts: bool = True) -> None:
        self._outbox.put_rst(stream_id, code, counts=counts)
        self._table.recent_resets.add(stream_id)

    def fail(self, error: ProtocolError) -> None:
        """End the connection with a GOAWAY that says why. Only the first error counts."""
        if self.error is None:
            self.error = error = self._in_words(error).with_traceback(None)  # whose frames hold all this
            self._outbox.put(encode_goaway(self._table.last_remote, error.code, error.reason.encode()[:MAX_REASON]))
            self.goaway_sent = True

    def _in_words(self, error: ProtocolError) -> ProtocolError:
        """If there was no frame yet, and the bytes look like another protocol, the error says so first."""
        stranger = looks_like(self._opening) if self._opening and not self.counters.frames_received else None
        if stranger is None:
            return error
        return ProtocolError(error.code, f"this looks like {stranger}, not muxado: {error.reason}")

"""What the peer does to a connection: the rule for each frame, and what the frame changes.

Legality is decided before anything changes. If the peer breaks a rule, the answer is a stream reset (`_reset`) where
docs/protocol.md says so. Otherwise it is a ProtocolError, which `receive` turns into one GOAWAY; after that nothing
more is received.
"""

from collections.abc import Collection
from math import inf
from typing import Final

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._config import INITIAL_WINDOW
from muxpy.frame import Buffer
from muxpy.frame.muxado import (
    DATA,
    FIN,
    GOAWAY,
    HEADER_SIZE,
    MAX_ID,
    MAX_WINDOW,
    MIN_EXTENSION_TYPE,
    RST,
    SYN,
    Decoder,
    looks_like,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)
from muxpy.proto._changes import Changes, RemoteGoAway
from muxpy.proto._limits import (
    LOGIN_FRAMES,
    MAX_REASON,
    START,
    WAKE,
    TokenBucket,
    reset_buckets,
    too_much_before_login,
)
from muxpy.proto._state import RECV_FIN, Phase
from muxpy.proto._stream import StreamState

from ._common import Common

__all__ = ["Receiving"]

USELESS: Final = "the peer sends frames that do nothing too fast"
"""Why the session ends if they use up the tokens for resets."""


class Receiving:
    """The receiving side of one connection.

    `refusing`: the application takes no streams for now; extensions do. `stranger`: the peer has not authenticated
    itself yet. `resets` limits the peer's resets of its own streams, `provoked` those that it makes this side send
    (rapid reset: see `_limits`).
    """

    __slots__ = (
        "_common",
        "_decoder",
        "_extension_types",
        "_first_bytes",
        "_left_rest",
        "_table",
        "provoked",
        "refusing",
        "resets",
        "stranger",
    )

    def __init__(self, common: Common, extension_types: Collection[int]) -> None:
        self._common = common
        self._table = common.table
        self._decoder = Decoder()
        self._extension_types = frozenset(extension_types)
        self._first_bytes: bytearray | None = bytearray()  # until there was a whole frame
        self._left_rest = False  # the last call left bytes for the next one
        self.refusing = False
        self.stranger = common.config.wants_login
        self.resets: TokenBucket
        self.provoked: TokenBucket
        self.resets, self.provoked = reset_buckets(common.config.reset_burst, common.config.reset_rate, common.clock)

    def receive(self, data: Buffer, most: float = inf) -> Changes:
        """See Core.receive. Work is counted by frames, and not by bytes: frames cost time that others wait for."""
        changes = Changes()
        common = self._common
        if common.error is not None:
            changes.going_away = True
            return changes
        arrived: list[StreamState] = []
        frames = 0
        if self.stranger:
            most = min(most, LOGIN_FRAMES)
        streams = self._table.live
        if self._first_bytes is not None:
            self._note_first_bytes(data)
        try:
            outbox = common.sending.outbox
            # Within one read, the answers had no time to go out.
            if (outbox.framed or outbox.updates) and not self._left_rest:
                outbox.check()
            self._left_rest = False
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
                if frames + changes.work >= most:
                    changes.rest = memoryview(data)[self._decoder.position :]
                    self._left_rest = bool(changes.rest)
                    break
        except ProtocolError as error:
            self.fail(error)
        common.counters.frames_received += frames
        if self.stranger and common.counters.frames_received > LOGIN_FRAMES:
            self.fail(too_much_before_login(f"{LOGIN_FRAMES} frames"))
        if arrived:
            common.reading.settle(arrived, changes)
        if common.error is not None:
            changes.going_away = True
        return changes

    def receive_lone(self, data: Buffer, now: float) -> StreamState | None:
        """See Core.receive_lone. What is out of the ordinary in any way is left to `receive` and its rules."""
        common = self._common
        outbox = common.sending.outbox
        if self._first_bytes is not None or self.stranger or outbox.framed or outbox.updates:
            return None
        stream_id = self._decoder.lone_data(data)
        stream = None if stream_id is None or common.error is not None else self._table.live.get(stream_id)
        if stream is None or not stream.phase.reads or not common.reading.keep(stream, data[HEADER_SIZE:], now):
            return None
        common.counters.frames_received += 1
        return stream

    def receive_eof(self) -> bool:
        """See Core.receive_eof."""
        if self._decoder.mid_frame:
            self.fail(ProtocolError(ErrorCode.PROTOCOL_ERROR, "the transport ended in the middle of a frame"))
        return self._common.remote_goaway is not None and self._common.error is None

    # ---- the frames ----

    def _on_syn(self, stream_id: int, flags: int, body: memoryview, changes: Changes) -> None:
        self._table.note_remote(stream_id)
        priority, stream_type = parse_syn(flags, body)
        extension = stream_type >= MIN_EXTENSION_TYPE
        if extension and stream_type not in self._extension_types:
            self.provoked.spend()
            self._common.refuse(stream_id, ErrorCode.STREAM_CLOSED)
            return
        if self._common.goaway_sent or (self.refusing and not extension) or self._full(extension):
            self._common.counters.refused += 1
            self._common.refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        stream = self._table.add_remote(stream_id, priority, stream_type)
        if flags & FIN:
            stream.advance(RECV_FIN)
        self._common.counters.accepted += 1
        changes.opened.append(stream)
        changes.streams = True
        changes.work += START

    def _full(self, extension: bool) -> bool:
        """Whether there is no room for one more stream of the peer."""
        places = self._table.places(extension=extension)
        return places.in_use > 0 if self.stranger else places.full()

    def _on_data(
        self,
        stream: StreamState,
        flags: int,
        body: memoryview,
        rest: int,
        arrived: list[StreamState],
        changes: Changes,
    ) -> None:
        # Payload comes in pieces, as it arrives, so that the decoder holds none back. They are views of the read buffer
        # until `Reading.settle`, so one copy joins all pieces of a read. The phase decides: a stream that still reads
        # gets the piece; otherwise an empty FIN may be legal, and anything more is answered.
        size = len(body)
        if stream.phase.reads:
            incoming = stream.incoming
            if size + rest > incoming.available:  # the whole frame must fit, before any of it is kept
                self._reset(stream, ErrorCode.FLOW_CONTROL_ERROR, changes)
                return
            if size:
                incoming.available -= size
                incoming.buffered += size
                if incoming.arriving is None:
                    incoming.arriving = [body]
                    arrived.append(stream)
                    changes.work += WAKE
                else:
                    incoming.arriving.append(body)
            elif not flags & FIN and not rest:
                self.resets.spend(USELESS)  # it takes time, and no honest peer sends many
        elif stream.phase is Phase.REMOTE_DONE:
            # The Go peer sends FIN twice when it half-closes and then closes. An empty one carries nothing, and a reset
            # for it would throw away data that the application has not read yet.
            if size or not flags & FIN:
                self._reset(stream, ErrorCode.STREAM_CLOSED, changes)
            return
        elif size or not flags & FIN:  # CLOSING: only an empty FIN is still legal
            self._reset(stream, ErrorCode.CANCEL, changes)
            return
        if flags & FIN and not rest:
            self._on_fin(stream, changes)

    def _on_fin(self, stream: StreamState, changes: Changes) -> None:
        stream.advance(RECV_FIN)
        if stream.phase.over:
            self._table.forget(stream)
            changes.streams = True
        elif stream.incoming.size != INITIAL_WINDOW:
            self._table.shrink_window(stream)
        if stream.incoming.arriving is None and not stream.closed:  # nobody receives on a closed stream
            changes.readable.append(stream)
            changes.work += WAKE

    def _data_for_forgotten(self, stream_id: int) -> None:
        self._table.require_known(stream_id, "STREAM_DATA")
        if stream_id not in self._table.recent_resets:
            self._common.refuse(stream_id, ErrorCode.STREAM_CLOSED)

    def _on_control(self, kind: int, stream_id: int, body: memoryview, changes: Changes) -> None:
        """RST and WND_INC, which are both ignored for a stream that has ended."""
        stream = self._table.live.get(stream_id)
        if stream is None:
            self._table.require_known(stream_id, "STREAM_RST" if kind == RST else "STREAM_WND_INC")
        elif kind == RST:
            if not self._table.is_local(stream_id):
                self.resets.spend()
            self._give_up(stream, parse_code(body), changes)
        else:
            self._on_wnd_inc(stream, parse_increment(body), changes)

    def _on_wnd_inc(self, stream: StreamState, increment: int, changes: Changes) -> None:
        if increment == 0:
            self._reset(stream, ErrorCode.PROTOCOL_ERROR, changes)
        elif stream.send_window + increment > MAX_WINDOW:
            self._reset(stream, ErrorCode.FLOW_CONTROL_ERROR, changes)
        else:
            self._common.counters.window_updates_received += 1
            if self._common.sending.open_window(stream, increment):
                changes.writable.append(stream)
                changes.work += WAKE

    def _on_goaway(self, body: memoryview, changes: Changes) -> None:
        common = self._common
        last_id, code, debug = parse_goaway(body)
        before = MAX_ID
        if common.remote_goaway is not None:
            self.resets.spend(USELESS)  # the Go peer sends two, if it closes after going away; nobody needs many
            before = common.remote_goaway.last_id
            last_id = min(last_id, before)  # streams that were given up stay given up
        common.remote_goaway = RemoteGoAway(last_id, code, debug[:MAX_REASON])
        changes.going_away = True
        for stream in self._table.local_between(last_id, before):
            # The peer has not handled these: they are safe to retry.
            self._give_up(stream, ErrorCode.REFUSED_STREAM, changes)

    def _reset(self, stream: StreamState, code: ErrorCode, changes: Changes) -> None:
        """Answer a rule that the peer broke, or its data for a stream that the application has closed (CANCEL)."""
        if code is not ErrorCode.CANCEL:  # the peer did not cause the close
            self.provoked.spend()
        self._common.reset(stream, code)
        _note_reset(stream, changes)

    def _give_up(self, stream: StreamState, code: int, changes: Changes) -> None:
        """The peer has reset the stream, or will not handle it."""
        stream.reset(code, by_peer=True)
        self._table.forget(stream)
        _note_reset(stream, changes)

    # ---- errors ----

    def fail(self, error: ProtocolError) -> None:
        """See Core.fail."""
        common = self._common
        if common.error is None:
            common.error = error = self._in_words(error).with_traceback(None)  # its frames would keep all of this alive
            common.go_away(self._table.last_remote, error.code, error.reason.encode())
            common.goaway_sent = True

    def _note_first_bytes(self, data: Buffer) -> None:
        if self._common.counters.frames_received:
            self._first_bytes = None
        elif self._first_bytes is not None and len(self._first_bytes) < HEADER_SIZE:
            self._first_bytes += data[:HEADER_SIZE]

    def _in_words(self, error: ProtocolError) -> ProtocolError:
        """The error, which names another protocol first if the bytes look like one and there was no frame yet."""
        no_frame = not self._common.counters.frames_received
        other = looks_like(self._first_bytes) if self._first_bytes and no_frame else None
        if other is None:
            return error
        return ProtocolError(error.code, f"this looks like {other}, not muxado: {error.reason}")


def _note_reset(stream: StreamState, changes: Changes) -> None:
    changes.reset.append(stream)
    changes.streams = True
    changes.work += WAKE

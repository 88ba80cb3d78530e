"""A second core, to prove that the shell needs nothing of muxado: a `muxpy.proto.Core` for the protocol of `framing`.

It differs from muxado where HTTP/2 does. Only the client opens streams, with a head, and no more than the server lets
it, which at first is none. All streams share a send window (`Scheduler.credit`), which the receiver gives back on
arrival. Settings may change at any time the number of streams, the size of frames, and all windows together, even to
below zero. A direction ends with its last data, or with trailers.

It has the rules that show this, and hardly any that would protect it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from muxpy import ErrorCode, ProtocolError
from muxpy._config import INITIAL_WINDOW
from muxpy.proto import Changes, Counters, Event, Opening, Phase, RemoteGoAway, Sending, StreamState
from muxpy.proto._limits import START, WAKE
from muxpy.proto._window import Budget

from .framing import FIRST, Decoder, Framing, Kind, Settings, fields_in, frame, packed, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from muxpy import SessionConfig
    from muxpy.frame import Buffer
    from muxpy.proto import Fields, TokenBucket

__all__ = ["CREDIT", "MAX_ID", "SeamCore", "SeamStream"]

CREDIT: Final = 20_000
"""Bytes that all streams together may send at first: less than one alone might."""

MAX_ID: Final = 2**31 - 1


class SeamStream(StreamState):
    """A stream, with what only this protocol has."""

    __slots__ = ("answer", "head", "trailers")

    def __init__(self, stream_id: int, opening: Opening, *, send_window: int, receive_window: int) -> None:
        super().__init__(stream_id, opening.priority, opening.stream_type, send_window=send_window)
        self.incoming.available += receive_window - INITIAL_WINDOW
        self.head = opening.head
        self.answer: Fields | None = None  # the head of the other side
        self.trailers: Fields | None = None  # of the peer, once it has ended its direction


class SeamCore:
    """One side of a connection."""

    def __init__(
        self,
        config: SessionConfig,
        *,
        client: bool,
        clock: Callable[[], float],
        extension_types: Collection[int] = (),
    ) -> None:
        self.client = client
        self.counters = Counters()
        self.budget = Budget(config)
        self.framing = Framing()
        self.sending = Sending(config, self.counters, self.framing, clock)
        self.sending.scheduler.credit = CREDIT
        self.streams: dict[int, SeamStream] = {}
        self.error: ProtocolError | None = None
        self.remote_goaway: RemoteGoAway | None = None
        self.goaway_sent = False
        self.last_id = 0  # of the streams that the client has opened
        self.gives_credit = True  # on arrival
        self.theirs = self._ours = FIRST  # ours as far as the peer has acknowledged them
        self._unacknowledged: deque[Settings] = deque()
        self._config = config
        self._clock = clock
        self._decoder = Decoder()
        self._credit = CREDIT  # of the peer
        self._waiting = 0  # streams that nobody has taken yet
        self._refusing = self._announced = False
        self.settle(Settings(1 if config.wants_login else config.max_streams))

    # ---- what is of this protocol alone ----

    def settle(self, settings: Settings) -> None:
        """Tell the peer what this side takes."""
        self.said = settings
        self._unacknowledged.append(settings)
        self.sending.outbox.put(frame(Kind.SETTINGS, 0, *settings))

    def give_credit(self, count: int) -> None:
        """Let all streams of the peer together send so much more."""
        self._credit += count
        self.sending.outbox.put(self.framing.window_update(0, count))

    def answer(self, stream: StreamState, head: Fields) -> None:
        """Send the head of the side that did not open the stream."""
        self.sending.outbox.put(frame(Kind.HEAD, stream.id, rest=packed(head)))

    # ---- what the shell may ask ----

    @property
    def open_streams(self) -> int:
        return sum(stream.wanted for stream in self.streams.values())

    @property
    def can_open(self) -> bool:
        return self.client and self.error is None and self.remote_goaway is None and not self.used_up

    @property
    def may_open(self) -> bool:
        return len(self.streams) < self.theirs.streams

    @property
    def used_up(self) -> bool:
        return self.client and self.last_id == MAX_ID

    def is_local(self, stream_id: int) -> bool:
        return self.client

    # ---- what the peer does ----

    def receive(self, data: Buffer, most: float) -> Changes:
        changes = Changes()
        news: dict[SeamStream, None] = {}  # in order, each once
        could_open, credit, frames = self.may_open, self._credit, 0
        try:
            if self.error is None:
                self.sending.outbox.check()
                for kind, stream_id, body in self._decoder.feed(data):
                    self._act_on(kind, stream_id, body, news, changes)
                    frames += 1
                    if frames + changes.work >= most:
                        changes.rest = self._decoder.rest
                        break
        except ProtocolError as error:
            self.fail(error)
        self.counters.frames_received += frames
        if self.gives_credit and credit > self._credit:
            self.give_credit(credit - self._credit)
        for stream in news:
            self._keep(stream, changes)
        changes.may_open_again = self.may_open and not could_open
        changes.going_away |= self.error is not None
        return changes

    def _keep(self, stream: SeamStream, changes: Changes) -> None:
        incoming = stream.incoming
        if incoming.arriving and incoming.direct and not incoming.chunks:
            changes.direct.append(stream)
        elif stream.phase is not Phase.GONE:
            if count := incoming.settle():
                incoming.arrived(count, incoming.buffered == count, self._clock(), self.budget.rtt)
                self.counters.data_received += count
            changes.readable.append(stream)

    def _act_on(
        self, kind: Kind, stream_id: int, body: memoryview, news: dict[SeamStream, None], changes: Changes
    ) -> None:
        numbers, rest = unpack(kind, body)
        stream = self.streams.get(stream_id)
        match kind:
            case Kind.OPEN:
                self._on_open(stream_id, numbers, fields_in(rest), changes)
            case Kind.SETTINGS:
                self._on_settings(Settings(*numbers), changes)
            case Kind.ACK:
                self._on_ack(self._unacknowledged.popleft())
            case Kind.GOAWAY:
                self._on_goaway(RemoteGoAway(numbers[0], numbers[1], rest), changes)
            case Kind.WINDOW if stream_id == 0:
                self.sending.scheduler.credit += numbers[0]
            case _ if not 0 < stream_id <= self.last_id:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"{kind.name} for stream {stream_id}, never opened")
            case Kind.DATA | Kind.LAST:
                self._on_data(stream, body, news, changes)
                if kind is Kind.LAST and stream is not None and stream.advance(Event.RECV_FIN):
                    self._forget_if_over(stream, changes)
            case _ if stream is None:
                pass  # it crossed the end of the stream
            case Kind.WINDOW:
                self._open_window(stream, numbers[0], changes)
            case Kind.RESET:
                stream.reset(numbers[0], by_peer=True)
                self._note_reset(stream, changes)
            case Kind.HEAD:
                stream.answer = fields_in(rest)
                news[stream] = None
            case Kind.END if stream.advance(Event.RECV_FIN):
                stream.trailers = fields_in(rest)
                news[stream] = None
                self._forget_if_over(stream, changes)
            case _:
                self._refuse(stream, ErrorCode.STREAM_CLOSED, changes)

    def _on_open(self, stream_id: int, numbers: tuple[int, ...], head: Fields, changes: Changes) -> None:
        if self.client or stream_id != self.last_id + 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"stream id {stream_id} is not the peer's to open")
        self.last_id = stream_id
        full = len(self.streams) >= self.said.streams or self._waiting >= self._config.accept_backlog
        if full or self.goaway_sent or self._refusing:
            self.counters.refused += 1
            self.sending.outbox.put_reset(stream_id, ErrorCode.REFUSED_STREAM, counts=True)
            return
        priority, stream_type, fin = numbers
        stream = self._add(Opening(priority, stream_type, head))
        if fin:
            stream.advance(Event.RECV_FIN)
        self._waiting += 1
        self.counters.accepted += 1
        changes.opened.append(stream)
        changes.streams = True
        changes.work += START

    def _on_data(
        self, stream: SeamStream | None, body: memoryview, news: dict[SeamStream, None], changes: Changes
    ) -> None:
        self._credit -= len(body)
        if self._credit < 0:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more than all streams together may send")
        if stream is None:
            return  # it crossed the end of the stream
        incoming = stream.incoming
        if not stream.phase.reads:
            self._refuse(stream, ErrorCode.STREAM_CLOSED if stream.phase.peer_done else ErrorCode.CANCEL, changes)
        elif len(body) > incoming.available:
            self._refuse(stream, ErrorCode.FLOW_CONTROL_ERROR, changes)
        else:
            incoming.available -= len(body)
            incoming.buffered += len(body)
            incoming.arriving = [*(incoming.arriving or ()), body]
            changes.work += WAKE if stream not in news else 0
            news[stream] = None

    def _on_settings(self, settings: Settings, changes: Changes) -> None:
        shift = settings.window - self.theirs.window
        self.theirs = settings
        self.framing.max_payload = settings.frame
        self.sending.outbox.put(frame(Kind.ACK))
        for stream in self.streams.values():
            self._open_window(stream, shift, changes)

    def _open_window(self, stream: SeamStream, increment: int, changes: Changes) -> None:
        if self.sending.open_window(stream, increment) and stream not in changes.writable:
            changes.writable.append(stream)

    def _on_ack(self, settings: Settings) -> None:
        """What the peer sent before this, it sent as it was allowed before."""
        for stream in self.streams.values():
            stream.incoming.available += settings.window - self._ours.window
        self._ours = settings
        self._decoder.max_data = settings.frame

    def _on_goaway(self, goaway: RemoteGoAway, changes: Changes) -> None:
        self.remote_goaway = goaway
        changes.going_away = True
        for stream in [stream for stream in self.streams.values() if self.client and stream.id > goaway.last_id]:
            stream.reset(ErrorCode.REFUSED_STREAM, by_peer=True)
            self._note_reset(stream, changes)

    def _refuse(self, stream: SeamStream, code: ErrorCode, changes: Changes) -> None:
        """The peer sends what this side does not take."""
        self._reset(stream, code)
        self._note_reset(stream, changes)

    def _note_reset(self, stream: SeamStream, changes: Changes) -> None:
        changes.reset.append(stream)
        changes.streams = True
        self._forget_if_over(stream)

    def receive_lone(self, data: Buffer, now: float) -> StreamState | None:
        return None

    def receive_eof(self) -> bool:
        if self._decoder.partial:
            self.fail(ProtocolError(ErrorCode.PROTOCOL_ERROR, "the transport ended in the middle of a frame"))
        return self.remote_goaway is not None and self.error is None

    def fail(self, error: ProtocolError) -> None:
        if self.error is None:
            self.error = error.with_traceback(None)
            self._say_goaway(self.last_id, error.code, error.reason.encode())
            self.goaway_sent = True

    # ---- the connection ----

    def admit(self) -> None:
        self.budget.left = self._config.receive_budget
        self.allow_streams(self._config.max_streams)

    def allow_streams(self, most: int) -> None:
        self.sending.outbox.expect_streams(most)
        self.settle(self.said._replace(streams=most))

    def refuse_streams(self, refuse: bool) -> None:
        self._refusing = refuse

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        """It counts none."""

    def go_away(self, code: int, debug: bytes = b"", *, final: bool = True) -> bool:
        if self.goaway_sent or (self._announced and not final):
            return False
        self._say_goaway(self.last_id if final else MAX_ID, code, debug)
        self.goaway_sent = final
        return True

    def _say_goaway(self, last_id: int, code: int, debug: bytes) -> None:
        self._announced = True
        self.sending.outbox.put(frame(Kind.GOAWAY, 0, last_id, code, rest=debug[:1024]))

    def sample_rtt(self, rtt: float) -> None:
        self.budget.rtt.sample(rtt, self._clock())

    def own_code(self, code: int) -> int:
        return code

    # ---- one stream ----

    def check_opening(self, opening: Opening) -> None:
        for name, number, bits in (("priority", opening.priority, 31), ("stream_type", opening.stream_type, 32)):
            if not 0 <= number < 2**bits:
                raise ValueError(f"{name} must have {bits} bits")

    def open(self, opening: Opening, *, fin: bool = False) -> SeamStream:
        self.last_id += 1
        stream = self._add(opening)
        if fin:
            stream.advance(Event.SEND_FIN)
        self.counters.opened += 1
        numbers = opening.priority, opening.stream_type, fin
        self.sending.outbox.put(frame(Kind.OPEN, stream.id, *numbers, rest=packed(opening.head)), counts=False)
        return stream

    def _add(self, opening: Opening) -> SeamStream:
        windows = {"send_window": self.theirs.window, "receive_window": self._ours.window}
        stream = self.streams[self.last_id] = SeamStream(self.last_id, opening, **windows)
        return stream

    def accepted(self, stream: StreamState, *, hold: bool = False) -> None:
        self._waiting -= 1

    def let_go(self, stream: StreamState) -> None:
        """A stream that has ended holds no place: the peer was told how many it may open, and counts for itself."""

    def read(self, stream: StreamState, max_bytes: int | None) -> bytes:
        data = stream.incoming.read(max_bytes)
        self._consumed(stream, len(data))
        return data

    def read_directly(self, stream: StreamState, direct: bool) -> None:
        stream.incoming.direct = direct

    def pass_on(self, stream: StreamState, count: int) -> None:
        incoming = stream.incoming
        total = incoming.buffered
        incoming.skip_arriving(count)
        incoming.settle()
        incoming.arrived(total, True, self._clock(), self.budget.rtt)
        self.counters.data_received += total
        self._consumed(stream, count)

    def _consumed(self, stream: StreamState, count: int) -> None:
        window = stream.incoming
        window.owed += count
        if stream.phase.reads and window.owed >= window.due_at:
            self.sending.outbox.update_window(stream, window.increment(self._clock(), self.budget))

    def finish(self, stream: StreamState, trailers: Sequence[tuple[bytes, bytes]] = ()) -> bool:
        ends = stream.advance(Event.SEND_FIN)
        if ends:
            self._send_end(stream, trailers)
        return ends

    def _send_end(self, stream: StreamState, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        outbox = self.sending.outbox
        if trailers or not (stream.ends or outbox.end_small(stream.id)):
            outbox.put(frame(Kind.END, stream.id, rest=packed(trailers)), counts=not self.client)
        self._forget_if_over(stream)

    def close(self, stream: StreamState) -> None:
        stream.closed = True
        sends = stream.phase.sends
        if sends and stream.cut_short:
            self._reset(stream, ErrorCode.CANCEL)
            return
        closed, dropped = stream.advance(Event.CLOSE), stream.incoming.drop()
        if stream.phase is Phase.CLOSING and dropped:  # whoever waits for window sends then, and learns by a reset
            self.sending.outbox.update_window(stream, dropped)
            stream.incoming.available += dropped
        if closed and sends:
            self._send_end(stream)
        self._forget_if_over(stream)

    def reset(self, stream: StreamState, code: int) -> None:
        stream.closed = True
        stream.incoming.drop()
        if not stream.phase.over:
            self._reset(stream, code)

    def _reset(self, stream: StreamState, code: int) -> None:
        stream.reset(code, by_peer=False)
        self.sending.outbox.put_reset(stream.id, code, counts=not self.client)
        self._forget_if_over(stream)

    def _forget_if_over(self, stream: StreamState, changes: Changes | None = None) -> None:
        if stream.phase.over and self.streams.pop(stream.id, None) is not None:
            stream.incoming.shrink(self.budget)
            if changes is not None:
                changes.streams = True

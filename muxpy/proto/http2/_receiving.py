"""What the peer does to an HTTP/2 connection: the rule for each frame, and what the frame changes.

docs/http2.md has the rules as a table. A peer that breaks one is answered with RST_STREAM where only a stream is
concerned, and that takes a token: whoever makes this side reset streams has found another way to begin work and never
pay for it (CVE-2025-8671). Otherwise it is a ProtocolError, which `receive` turns into one GOAWAY.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_WINDOW,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Decoder,
    Http2Code,
    encode_ping,
    encode_window_update,
    named_code,
    parse_goaway,
    parse_ping,
    parse_priority,
    parse_priority_update,
    parse_rst_stream,
    parse_settings,
    parse_window_update,
)
from muxpy.proto._changes import Changes, RemoteGoAway
from muxpy.proto._limits import MAX_REASON, WAKE
from muxpy.proto._state import SEND_FIN

from ._heads import PRIORITIES, parse_urgency
from ._news import USELESS, on_itself
from ._table import Past

if TYPE_CHECKING:
    from muxpy.frame import Buffer
    from muxpy.proto._limits import TokenBucket

    from ._beginning import Beginning
    from ._common import Common
    from ._messages import Messages
    from ._news import News
    from ._pings import Pings
    from ._settings import Settings
    from ._stream import HttpStream

__all__ = ["Receiving"]

CREDIT_UPDATE: Final = 2**20
"""Bytes for which the peer gets back the window of the connection in one frame. All of that window is 2^31-1."""


class Receiving:
    """The receiving side of one connection."""

    __slots__ = (
        "_beginning",
        "_common",
        "_decoder",
        "_left_rest",
        "_messages",
        "_news",
        "_owed",
        "_pings",
        "_settings",
        "_table",
    )

    def __init__(
        self, common: Common, settings: Settings, messages: Messages, news: News, pings: Pings, beginning: Beginning
    ) -> None:
        self._common = common
        self._settings = settings
        self._messages = messages
        self._news = news
        self._pings = pings
        self._beginning = beginning
        self._table = common.table
        self._decoder = Decoder()
        self._left_rest = False  # the last call left bytes for the next one
        self._owed = 0  # window of the connection that was used, and is still to be given back

    # ---- bytes ----

    def receive(self, data: Buffer, most: float = inf) -> Changes:
        """See Core.receive. Work is counted by frames, and not by bytes: frames cost time that others wait for."""
        changes = Changes()
        common = self._common
        if common.error is not None:
            changes.going_away = True
            return changes
        news, messages = self._news, self._messages
        news.begin(changes)
        frames = 0
        decoder = self._decoder
        streams = self._table.live
        try:
            outbox = common.sending.outbox
            # Within one read, the answers had no time to go out.
            if (outbox.framed or outbox.updates) and not self._left_rest:
                outbox.check()
            self._left_rest = False
            if not self._settings.heard:
                data = self._beginning.take(data)
            for kind, flags, stream_id, body, rest, padding in decoder.feed(data):
                if messages.block is not None or not self._settings.heard:
                    self._check_order(kind, flags, stream_id)
                if kind == DATA:
                    self._owed += len(body) + padding
                    stream = streams.get(stream_id)
                    if stream is None:
                        self._data_for_forgotten(stream_id, rest)
                    else:
                        self._on_data(stream, flags, body, rest, padding)
                    if rest:
                        continue
                elif kind == HEADERS:
                    messages.on_headers(stream_id, flags, body)
                else:
                    self._on_other(kind, flags, stream_id, body)
                frames += 1
                if frames + changes.work >= most:
                    changes.rest = memoryview(data)[decoder.position :]
                    self._left_rest = bool(changes.rest)
                    break
        except ProtocolError as error:
            self.fail(error)
        common.counters.frames_received += frames
        if news.arrived:
            common.reading.settle(news.arrived, changes)
        if self._owed >= CREDIT_UPDATE:
            common.sending.outbox.put(encode_window_update(0, self._owed), counts=False)
            self._owed = 0
        if common.error is not None:
            changes.going_away = True
        return changes

    def receive_eof(self) -> bool:
        """See Core.receive_eof. A client may leave whenever no stream of it is open: most do, without GOAWAY."""
        common = self._common
        if self._decoder.mid_frame or self._messages.block is not None:
            self.fail(ProtocolError(Http2Code.PROTOCOL_ERROR, "the transport ended in the middle of a frame"))
        idle = not self._table.open_streams and self._settings.heard
        return common.error is None and (common.remote_goaway is not None or idle)

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        """See Core.share_resets."""
        self._news.resets, self._news.provoked = resets, provoked

    def fail(self, error: ProtocolError) -> None:
        """See Core.fail."""
        self._common.fail(error if self._settings.heard else self._beginning.in_words(error))

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        block = self._messages.block
        if block is not None and (kind != CONTINUATION or stream_id != block.stream_id):
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "a frame in the middle of a header block")
        if not self._settings.heard and (kind != SETTINGS or flags & ACK):
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    # ---- DATA ----

    def _on_data(self, stream: HttpStream, flags: int, body: memoryview, rest: int, padding: int) -> None:
        phase = stream.phase
        wanted = phase.reads
        if not wanted and (phase.peer_done or stream.tunnel):
            self._news.reset(stream, Http2Code.STREAM_CLOSED if phase.peer_done else Http2Code.CANCEL)
            return
        incoming = stream.incoming
        size = len(body)
        if size + padding + rest > incoming.available:  # the whole frame must fit, before any of it is kept
            self._news.reset(stream, Http2Code.FLOW_CONTROL_ERROR)
            return
        if self._settings.client and stream.answer is None:
            self._news.reset(stream, Http2Code.PROTOCOL_ERROR)
            return
        incoming.available -= size + padding
        if stream.expected is not None:
            stream.expected -= size
            if stream.expected < 0:
                self._news.reset(stream, Http2Code.PROTOCOL_ERROR)
                return
        if wanted:  # otherwise it is the rest of a request that was answered already, which gets no more window
            if size:
                incoming.buffered += size
                if incoming.arriving is None:
                    incoming.arriving = [body]
                    self._news.arrived.append(stream)
                    self._news.changes.work += WAKE
                else:
                    incoming.arriving.append(body)
            elif not flags & END_STREAM and not rest:
                self._news.resets.spend(USELESS)  # it takes time, and no honest peer sends many
            if padding:  # it is nobody's to read
                incoming.owed += padding
                self._common.reading.consumed(stream, incoming)
        if flags & END_STREAM and not rest:
            self._news.ended(stream)

    def _data_for_forgotten(self, stream_id: int, rest: int) -> None:
        past = self._table.require_used(stream_id, "DATA")
        if past is not Past.RESET_HERE and not rest:  # once for a frame, in however many pieces it comes
            self._news.refuse(stream_id, Http2Code.STREAM_CLOSED)

    # ---- other frames ----

    def _on_other(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._on_window_update(stream_id, parse_window_update(body))
        elif kind == RST_STREAM:
            self._on_reset(stream_id, named_code(parse_rst_stream(body)))
        elif kind == CONTINUATION:
            self._messages.on_continuation(stream_id, flags, body)
        elif kind == SETTINGS:
            self._on_settings(flags, stream_id, body)
        elif kind == PING:
            self._on_ping(flags, stream_id, body)
        elif kind == GOAWAY:
            self._on_goaway(stream_id, body)
        elif kind == PRIORITY:
            self._on_priority(stream_id, body)
        elif kind == PRIORITY_UPDATE:
            self._on_priority_update(stream_id, body)
        elif kind == PUSH_PROMISE:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "PUSH_PROMISE, which was not allowed")
        # Frames of unknown types are ignored (RFC 9113, 4.1).

    def _on_window_update(self, stream_id: int, increment: int) -> None:
        sending = self._common.sending
        if stream_id == 0:
            if increment == 0:
                raise ProtocolError(Http2Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0 for the connection")
            if sending.scheduler.credit + increment > MAX_WINDOW:
                raise ProtocolError(Http2Code.FLOW_CONTROL_ERROR, f"a window of the connection above {MAX_WINDOW}")
            sending.scheduler.credit += increment
            return
        stream = self._table.live.get(stream_id)
        if stream is None:
            self._table.require_used(stream_id, "WINDOW_UPDATE")
        elif increment == 0:
            self._news.reset(stream, Http2Code.PROTOCOL_ERROR)
        elif stream.send_window + increment > MAX_WINDOW:
            self._news.reset(stream, Http2Code.FLOW_CONTROL_ERROR)
        else:
            self._common.counters.window_updates_received += 1
            if sending.open_window(stream, increment):
                self._news.changes.writable.append(stream)
                self._news.changes.work += WAKE

    def _on_reset(self, stream_id: int, code: int) -> None:
        table = self._table
        stream = table.live.get(stream_id)
        if stream is None:
            if table.require_used(stream_id, "RST_STREAM") is Past.RESET_HERE:
                table.reset_there.add(stream_id)
            return
        if not table.is_local(stream_id):
            self._news.resets.spend()
        whole = table.is_local(stream_id) and not stream.tunnel
        if stream.phase.peer_done and (whole or code == Http2Code.NO_ERROR):
            # A whole response, and no wish for the rest of the request: the response stays (RFC 9113, 8.1). HAProxy
            # says CANCEL then.
            stream.advance(SEND_FIN)
            stream.stop_sending(code)
            table.forget(stream)
            self._news.note_reset(stream)
        else:
            self._news.give_up(stream, code)

    def _on_settings(self, flags: int, stream_id: int, body: bytes) -> None:
        _require_connection(stream_id, "SETTINGS")
        if flags & ACK:
            if body:
                raise ProtocolError(Http2Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is not empty")
            self._settings.acknowledged()
        else:
            if self._settings.heard and body:
                self._news.resets.spend(USELESS)  # each may cost a look at every stream, and nobody needs many
            self._settings.take(parse_settings(body), self._news.changes)

    def _on_ping(self, flags: int, stream_id: int, body: bytes) -> None:
        _require_connection(stream_id, "PING")
        data = parse_ping(body)
        if not flags & ACK:
            self._common.sending.outbox.put(encode_ping(data, ack=True))
        else:
            self._pings.answered(data)

    def _on_goaway(self, stream_id: int, body: bytes) -> None:
        _require_connection(stream_id, "GOAWAY")
        common = self._common
        last_id, code, debug = parse_goaway(body)
        if common.remote_goaway is not None:
            self._news.resets.spend(USELESS)  # a graceful end takes two; nobody needs many
            if last_id > common.remote_goaway.last_id:
                raise ProtocolError(Http2Code.PROTOCOL_ERROR, "the last stream id of a GOAWAY is above that before")
        common.remote_goaway = RemoteGoAway(last_id, named_code(code), debug[:MAX_REASON])
        self._news.changes.going_away = True
        for stream in self._table.local_above(last_id):
            # The peer has not handled these: they are safe to retry.
            self._news.give_up(stream, Http2Code.REFUSED_STREAM)

    def _on_priority_update(self, stream_id: int, body: bytes) -> None:
        """RFC 9218, 7.1."""
        _require_connection(stream_id, "PRIORITY_UPDATE")
        if self._settings.client:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "PRIORITY_UPDATE from a server")
        about, value = parse_priority_update(body)
        table = self._table
        stream, urgency = table.live.get(about), parse_urgency(value)
        if stream is not None:
            stream.priority = PRIORITIES[urgency]
        elif not about or (table.past(about) is Past.IDLE and table.is_local(about)):
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, f"PRIORITY_UPDATE for stream {about}")
        elif table.past(about) is Past.IDLE:
            # It may overtake the request. Those of a peer that names more streams than it may open are forgotten.
            urgencies = self._messages.urgencies
            if len(urgencies) >= table.most:
                self._news.resets.spend(USELESS)
                urgencies.clear()
            urgencies[about] = urgency

    def _on_priority(self, stream_id: int, body: bytes) -> None:
        """Ignored but for its form, which RFC 7540, 6.3, wants to be an error of the stream."""
        if not stream_id:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "PRIORITY for stream 0")
        try:
            if parse_priority(body)[0] == stream_id:
                raise on_itself(stream_id)
        except ProtocolError as error:
            self._news.end_stream(stream_id, error)


def _require_connection(stream_id: int, what: str) -> None:
    if stream_id:
        raise ProtocolError(Http2Code.PROTOCOL_ERROR, f"{what} for stream {stream_id}; it concerns the connection")

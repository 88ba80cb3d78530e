"""The core of HTTP/2: what the application does to a connection. What the peer does to it is in `_receiving`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy._codes import ErrorCode, ProtocolError
from muxpy.frame.http2 import (
    DEFAULT_MAX_FRAME_SIZE,
    MAX_ID,
    Http2Code,
    Setting,
    encode_data_header,
    encode_push_promise,
)
from muxpy.proto._state import CLOSE, CLOSING, SEND_FIN

from ._beginning import Beginning
from ._common import Common, wire_code
from ._heads import Malformed, parse_request
from ._messages import Messages
from ._news import News
from ._patience import Patience
from ._pings import Pings
from ._receiving import Receiving
from ._settings import DEFAULT_WINDOW, Settings
from ._stream import HttpStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from muxpy._http_config import Config as HttpConfig
    from muxpy.frame import Buffer
    from muxpy.proto._changes import Counters, RemoteGoAway
    from muxpy.proto._core import Fields, Opening
    from muxpy.proto._limits import TokenBucket
    from muxpy.proto._stream import StreamState
    from muxpy.proto._window import Budget

__all__ = ["Connection"]


class Connection:
    """One side of a connection of HTTP/2. It is a `muxpy.proto.Core`, which describes each method that has no docstring
    here.

    `clock` tells the time in seconds, from any start. `eager`: whether a server says its settings immediately, since it
    is known already that the client speaks HTTP/2, and not only when that has shown itself.
    """

    def __init__(self, config: HttpConfig, *, client: bool, clock: Callable[[], float], eager: bool = True) -> None:
        self._common = common = Common(config, clock, client=client)
        self._settings = Settings(common, client=client)
        news = News(common)
        messages = Messages(common, self._settings, news)
        self._pings = pings = Pings(common)
        beginning = Beginning(client=client)
        self._receiving = receiving = Receiving(common, self._settings, messages, news, pings, beginning)
        self._table = common.table
        self.sending = common.sending
        self.streams = common.table.live
        # Bound once, so that each read and each stream passes through one function less.
        self.receive = receiving.receive
        self.read = common.reading.read
        self.pass_on = common.reading.pass_on
        self.patience = Patience(common, messages)
        self.accepted = common.table.accepted
        self.let_go = common.table.let_go
        self.used_up = False
        self.sending.scheduler.credit = DEFAULT_WINDOW
        if client or eager:
            self._settings.begin()
        else:
            beginning.on_preface = self._settings.begin

    # ---- what the shell may ask ----

    @property
    def client(self) -> bool:
        return self._settings.client

    @property
    def counters(self) -> Counters:
        return self._common.counters

    @property
    def budget(self) -> Budget:
        return self._common.budget

    @property
    def open_streams(self) -> int:
        return self._table.open_streams

    @property
    def error(self) -> ProtocolError | None:
        return self._common.error

    @property
    def remote_goaway(self) -> RemoteGoAway | None:
        return self._common.remote_goaway

    @property
    def goaway_sent(self) -> bool:
        return self._common.goaway_sent

    @property
    def can_open(self) -> bool:
        return self.client and self.error is None and self.remote_goaway is None and self._table.ids_left

    @property
    def may_open(self) -> bool:
        return self._table.local_open < self._settings.max_streams

    @property
    def takes_push(self) -> bool:
        """Whether the peer, a client, takes pushed streams, and one more of them now."""
        return self._settings.takes_push and self.may_open and self.remote_goaway is None and not self.used_up

    @property
    def settings_heard(self) -> bool:
        """Whether the peer's first settings have come."""
        return self._settings.heard

    @property
    def takes_connect(self) -> bool:
        """Whether the peer, a server, takes extended CONNECT; it may say so only in its first settings."""
        return self._settings.takes_connect

    def is_local(self, stream_id: int) -> bool:
        return self._table.is_local(stream_id)

    # ---- what the peer does ----

    def receive_lone(self, data: Buffer, now: float) -> StreamState | None:
        return None  # heads and windows come with nearly all data

    def receive_eof(self) -> bool:
        return self._receiving.receive_eof()

    def fail(self, error: ProtocolError) -> None:
        self._receiving.fail(error)

    # ---- the connection ----

    def admit(self) -> None:
        """There is no login before the first request."""

    def ping(self, answered: Callable[[], None]) -> None:
        """Send a PING; `answered` is called when the answer comes."""
        self._settings.begin()
        self._pings.send(answered)

    def allow_streams(self, most: int) -> None:
        self._settings.begin()
        self._table.most = most
        self.sending.outbox.expect_streams(most)
        self._settings.say({Setting.MAX_CONCURRENT_STREAMS: most})

    def refuse_streams(self, refuse: bool) -> None:
        self._common.refusing = refuse

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        self._receiving.share_resets(resets, provoked)

    def go_away(self, code: int, debug: bytes = b"", *, final: bool = True) -> bool:
        common = self._common
        if common.goaway_sent or (common.goaway_announced and not final):
            return False
        self._settings.begin()
        common.go_away(self._table.last_remote if final else MAX_ID, wire_code(code), debug)
        common.goaway_sent = final
        return True

    def sample_rtt(self, rtt: float) -> None:
        self.budget.rtt.sample(rtt, self._common.clock())

    def own_code(self, code: int) -> int:
        return wire_code(code)

    # ---- one stream ----

    def check_opening(self, opening: Opening) -> None:
        try:
            parse_request(opening.head)
        except Malformed as error:
            raise ValueError(str(error)) from None

    def open(self, opening: Opening, *, fin: bool = False) -> HttpStream:
        request = parse_request(opening.head)
        stream = HttpStream(self._next_id(), request, self._settings.window, opening.priority)
        stream.announced = request.content_length
        self._table.add_local(stream)
        self.counters.opened += 1
        self._common.put_head(stream.id, opening.head, end=fin)
        if fin:
            stream.advance(SEND_FIN)
        if self.used_up:
            # A program that needs more streams needs another session: say so before it asks for one more.
            self.go_away(ErrorCode.NO_ERROR, b"stream ids are used up")
        return stream

    def _next_id(self) -> int:
        stream_id = self._table.next_local()
        self.used_up = not self._table.ids_left
        return stream_id

    def send_head(self, stream: HttpStream, fields: Fields, *, end: bool = False, length: int | None = None) -> None:
        """Send the final head of a response, whose body has `length` bytes if it has one and that is announced. With
        `end`, nothing follows it. The stream must still send: ask its phase."""
        stream.answered = True
        if stream.tunnel and fields[0][1][:1] != b"2":
            stream.tunnel = False  # the answer is a message that says why there is none
        # A tunnel has no length, whatever is said (RFC 9110, 9.3.6).
        stream.announced = None if stream.tunnel else length
        self._common.put_head(stream.id, fields, end=end)
        if end:
            self._sent_end(stream)

    def respond(self, stream: HttpStream, fields: Fields, body: bytes) -> bool:
        """`send_head`, and the whole of a small body with it. Returns False if the body must wait: then it is still to
        be sent, and to end the direction."""
        size = len(body)
        self.send_head(stream, fields, end=not size, length=size)
        if size:
            if not self.sending.submit_small(stream, body, True):
                return False
            self._sent_end(stream)
        return True

    def _sent_end(self, stream: HttpStream) -> None:
        """What ends our direction is in a frame."""
        stream.advance(SEND_FIN)
        if stream.phase.over:
            self._table.forget(stream)

    def _put_end(self, stream: HttpStream) -> None:
        """End our direction with the data that was submitted last, or with a frame of its own."""
        outbox = self.sending.outbox
        if not stream.ends and not outbox.end_small(stream.id):
            outbox.put(encode_data_header(stream.id, 0, True), counts=not self._table.is_local(stream.id))

    def send_interim(self, stream: HttpStream, fields: Fields, *, counts: bool = False) -> None:
        """Send the head of an interim response (1xx), before the final one. `counts` as for `Outbox.put`."""
        self._common.put_head(stream.id, fields, end=False, counts=counts)

    def push(self, stream: HttpStream, fields: Fields) -> HttpStream:
        """Promise the client the response to a request that it has not sent. The response is sent on the stream that
        this returns. Ask `takes_push` first."""
        request, window = parse_request(fields), self._settings.window
        pushed = HttpStream(self._next_id(), request, window, stream.priority, ended=True)
        self._table.add_pushed(pushed)
        self.counters.opened += 1
        block = self._common.encoder.encode(fields)
        frames = encode_push_promise(stream.id, pushed.id, block, DEFAULT_MAX_FRAME_SIZE)
        self.sending.outbox.put(frames, counts=False)
        return pushed

    def read_directly(self, stream: StreamState, direct: bool) -> None:
        stream.incoming.direct = direct

    def finish(self, stream: HttpStream, trailers: Sequence[tuple[bytes, bytes]] = ()) -> bool:
        if not stream.phase.sends:
            return False
        if stream.announced is not None and stream.sent != stream.announced:
            # With an ordinary end, the peer would take what there is for the whole, or see through it: see RFC 9113,
            # 8.1.1.
            self.reset(stream, Http2Code.INTERNAL_ERROR)
            return True
        if trailers:
            self._common.put_head(stream.id, tuple(trailers), end=True)
        else:
            self._put_end(stream)
        self._sent_end(stream)
        return True

    def close(self, stream: HttpStream) -> None:
        stream.closed = True
        incoming = stream.incoming
        if stream.phase.over:
            if incoming.buffered:
                incoming.drop()
                self._table.shrink_window(stream)
        elif stream.phase.sends and (stream.cut_short or not (stream.answered or stream.answer is not None)):
            self.reset(stream, Http2Code.CANCEL)
        elif stream.tunnel:
            self._close_tunnel(stream)
        elif self.client:
            self.reset(stream, Http2Code.CANCEL)  # there is more to send or to receive, and nobody wants it
        else:
            self.finish(stream)
            if not stream.phase.over:
                self._close_answered(stream)

    def _close_answered(self, stream: HttpStream) -> None:
        """A whole response, and no wish for the rest of the request. The client is told so by NO_ERROR (RFC 9113, 8.1)
        a second later (`Patience`): most have sent all of it by then, and some, such as curl, lose a response that is
        followed by a reset in the same moment. After a reset, nothing that comes could be judged any more either."""
        stream.incoming.drop()
        self._close_receiving(stream)
        self._table.shrink_window(stream)

    def _close_receiving(self, stream: HttpStream) -> bool:
        """Read no more. The peer may not have ended its direction yet. Returns False if that was done before."""
        if not stream.advance(CLOSE):
            return False
        if stream.phase is CLOSING:
            overdue = self._table.note_closing(stream, self._common.clock())
            if overdue is not None:
                self._common.reset(overdue, Http2Code.CANCEL if overdue.tunnel else Http2Code.NO_ERROR)
        return True

    def _close_tunnel(self, stream: HttpStream) -> None:
        """What the peer still sends is answered by CANCEL."""
        had_window, sends = stream.phase.reads, stream.phase.sends
        if not self._close_receiving(stream):
            return
        dropped = stream.incoming.drop()
        self._table.shrink_window(stream)
        if stream.phase is CLOSING and had_window and dropped:
            # Whoever waits for window sends then, and learns by our reset.
            self.sending.outbox.update_window(stream, dropped)
            stream.incoming.available += dropped
        if sends:
            self._put_end(stream)
        if stream.phase.over:
            self._table.forget(stream)

    def reset(self, stream: HttpStream, code: int) -> None:
        stream.closed = True
        if stream.phase.over:
            stream.incoming.drop()
            self._table.shrink_window(stream)
        else:
            self._common.reset(stream, wire_code(code), counts=not self._table.is_local(stream.id))

"""The core of muxado: what the application does to a connection. What the peer does to it is in `_receiving`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy._codes import ErrorCode
from muxpy.frame.muxado import MAX_ID, MAX_PRIORITY, MAX_STREAM_TYPE, encode_data_header, encode_syn
from muxpy.proto._state import CLOSE, CLOSING, SEND_FIN

from ._common import Common
from ._receiving import Receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from muxpy._codes import ProtocolError
    from muxpy._config import SessionConfig
    from muxpy.proto._changes import RemoteGoAway
    from muxpy.proto._core import Opening
    from muxpy.proto._limits import TokenBucket
    from muxpy.proto._stream import StreamState
    from muxpy.proto._window import Budget

__all__ = ["Connection"]


class Connection:
    """One side of a muxado connection. It is a `muxpy.proto.Core`, which describes each method.

    `clock` tells the time in seconds, from any start. `extension_types`: the stream types >= MIN_EXTENSION_TYPE that an
    extension takes.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        client: bool,
        clock: Callable[[], float],
        extension_types: Collection[int] = (),
    ) -> None:
        self._common = common = Common(config, clock, client=client)
        self._receiving = Receiving(common, extension_types)
        self._table = common.table
        self.client = client
        self.sending = common.sending
        self.counters = common.counters
        self.streams = common.table.live
        self.used_up = False
        # Bound once, so that each read and each stream passes through one function less.
        self.receive = self._receiving.receive
        self.receive_lone = self._receiving.receive_lone
        self.read = common.reading.read
        self.pass_on = common.reading.pass_on
        self.accepted = common.table.accepted
        self.let_go = common.table.let_go

    # ---- what the shell may ask ----

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
        common = self._common
        return common.error is None and common.remote_goaway is None and self._table.ids_left

    @property
    def may_open(self) -> bool:
        return True  # a muxado peer announces no limit: it refuses streams instead

    def is_local(self, stream_id: int) -> bool:
        return self._table.is_local(stream_id)

    # ---- what the peer does ----

    def receive_eof(self) -> bool:
        return self._receiving.receive_eof()

    def fail(self, error: ProtocolError) -> None:
        self._receiving.fail(error)

    # ---- the connection ----

    def admit(self) -> None:
        if self._receiving.stranger:
            self._receiving.stranger = False
            self._common.budget.left = self._common.config.receive_budget

    def allow_streams(self, most: int) -> None:
        self._table.allow(most)
        self.sending.outbox.expect_streams(most)

    def refuse_streams(self, refuse: bool) -> None:
        self._receiving.refusing = refuse

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        self._receiving.resets, self._receiving.provoked = resets, provoked

    def go_away(self, code: int, debug: bytes = b"", *, final: bool = True) -> bool:
        common = self._common
        if common.goaway_sent or (common.goaway_announced and not final):
            return False
        common.go_away(self._table.last_remote if final else MAX_ID, code, debug)
        common.goaway_sent = final
        return True

    def sample_rtt(self, rtt: float) -> None:
        self._common.budget.rtt.sample(rtt, self._common.clock())

    def own_code(self, code: int) -> int:
        return code

    # ---- one stream ----

    def check_opening(self, opening: Opening) -> None:
        priority, stream_type, _ = opening
        if not 0 <= priority <= MAX_PRIORITY:
            raise ValueError(f"priority must lie between 0 and 2^31-1, not {priority!r}")
        if not 0 <= stream_type <= MAX_STREAM_TYPE:
            raise ValueError(f"stream_type must lie between 0 and 2^32-1, not {stream_type!r}")

    def open(self, opening: Opening, *, fin: bool = False) -> StreamState:
        priority, stream_type, _ = opening
        stream = self._table.add_local(priority, stream_type)
        if fin:
            stream.advance(SEND_FIN)
        self.counters.opened += 1
        self.sending.outbox.put(encode_syn(stream.id, priority, stream_type, fin=fin), counts=False)
        if not self._table.ids_left:
            self.used_up = True
            # A program that needs more streams needs another session: say so before it asks for one more.
            self.go_away(ErrorCode.NO_ERROR, b"stream ids are used up")
        return stream

    def read_directly(self, stream: StreamState, direct: bool) -> None:
        stream.incoming.direct = direct

    def finish(self, stream: StreamState, trailers: Sequence[tuple[bytes, bytes]] = ()) -> bool:
        if not stream.advance(SEND_FIN):
            return False
        self._send_fin(stream)
        return True

    def close(self, stream: StreamState) -> None:
        """Data that still comes is answered by RST CANCEL."""
        stream.closed = True
        if stream.phase.over:
            if stream.incoming.buffered:
                stream.incoming.drop()
                self._table.shrink_window(stream)
            return
        if stream.cut_short and stream.phase.sends:
            self.reset(stream, ErrorCode.CANCEL)
            return
        had_window = stream.phase.reads
        sends_fin = stream.phase.sends
        if not stream.advance(CLOSE):
            return  # the application has closed it before
        dropped = stream.incoming.drop()
        if stream.phase is CLOSING and (overdue := self._table.note_closing(stream)) is not None:
            self.reset(overdue, ErrorCode.CANCEL)
        self._table.shrink_window(stream)
        if stream.phase is CLOSING and had_window and dropped:
            # A peer that has used up its window would wait for ever: DATA after a close is answered by a reset, and it
            # could send none. So a close gives back the window of unread bytes: the peer sends, and learns by our RST.
            self.sending.outbox.update_window(stream, dropped)
            stream.incoming.available += dropped
        if sends_fin:
            self._send_fin(stream)
        elif stream.phase.over:
            self._table.forget(stream)

    def reset(self, stream: StreamState, code: int) -> None:
        stream.closed = True
        if stream.phase.over:
            stream.incoming.drop()
            self._table.shrink_window(stream)
        else:
            self._common.reset(stream, code, counts=not self._table.is_local(stream.id))

    def _send_fin(self, stream: StreamState) -> None:
        # A FIN is a control frame, and goes before other streams' data. It overtakes nothing of its own stream:
        # `send_all` returns when its data is in a batch, and only then may `send_eof` or `aclose` be called.
        outbox, stream_id = self.sending.outbox, stream.id
        if not stream.ends and not outbox.end_small(stream_id):
            outbox.put(encode_data_header(stream_id, 0, True), counts=not self._table.is_local(stream_id))
        if stream.phase.over:
            self._table.forget(stream)

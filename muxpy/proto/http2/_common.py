"""What both directions of an HTTP/2 connection share: its streams, its sending side, and whether it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy._codes import ErrorCode, ProtocolError, TooMuch
from muxpy.frame.http2 import (
    DEFAULT_MAX_FRAME_SIZE,
    HEADER_SIZE,
    HpackEncoder,
    Http2Code,
    encode_data_header,
    encode_goaway,
    encode_headers,
    encode_rst_stream,
    encode_window_update,
    named_code,
    set_end_stream,
)
from muxpy.proto._changes import Counters, RemoteGoAway
from muxpy.proto._limits import MAX_REASON
from muxpy.proto._reading import Reading
from muxpy.proto._sending import Sending
from muxpy.proto._window import Budget

from ._table import StreamTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy._http_config import Config as HttpConfig
    from muxpy.proto._core import Fields

    from ._stream import HttpStream

__all__ = ["Common", "wire_code"]


class _Framing:
    """How frames are written. A peer may allow larger ones, which would carry no more data a second."""

    header_size: Final = HEADER_SIZE
    max_payload: Final = DEFAULT_MAX_FRAME_SIZE
    data_header = staticmethod(encode_data_header)
    set_end = staticmethod(set_end_stream)
    reset = staticmethod(encode_rst_stream)
    window_update = staticmethod(encode_window_update)


def wire_code(code: int) -> int:
    """The shell and the parts that all protocols share name codes by `ErrorCode`, which has other numbers."""
    return Http2Code[code.name] if isinstance(code, ErrorCode) else named_code(code)


class Common:
    """The parts of one connection, and the few steps that both the peer's frames and the application take."""

    __slots__ = (
        "budget",
        "clock",
        "config",
        "counters",
        "encoder",
        "error",
        "goaway_announced",
        "goaway_sent",
        "reading",
        "refusing",
        "remote_goaway",
        "sending",
        "table",
    )

    def __init__(self, config: HttpConfig, clock: Callable[[], float], *, client: bool) -> None:
        self.config = config
        self.clock = clock
        self.counters = Counters()
        self.budget = Budget(config)
        self.table = StreamTable(config, self.budget, client=client)
        self.sending = Sending(config, self.counters, _Framing(), clock)
        self.reading = Reading(self.sending.outbox, self.counters, self.budget, clock, self.table.shrink_window)
        self.encoder = HpackEncoder()
        self.error: ProtocolError | None = None
        self.remote_goaway: RemoteGoAway | None = None
        self.refusing = False  # the application takes no requests for now
        self.goaway_announced = False
        self.goaway_sent = False  # the final one: no more streams are taken

    def put_head(self, stream_id: int, fields: Fields, *, end: bool, counts: bool = False) -> None:
        """Send the fields of a head or of trailers. `counts` as for `Outbox.put`: whoever sends one that does not waits
        for room before (`_exchange`).

        A block is encoded at the moment when its frame is made, and frames are never moved after that: the peer's
        decoder must see all blocks in their order.
        """
        block = self.encoder.encode(fields)
        frames = encode_headers(stream_id, block, end, DEFAULT_MAX_FRAME_SIZE)
        self.sending.outbox.put(frames, counts=counts)

    def reset(self, stream: HttpStream, code: int, *, counts: bool = True) -> None:
        """End both directions of a living stream, and tell the peer."""
        stream.reset(code, by_peer=False)
        self.refuse(stream.id, code, counts=counts)
        self.table.forget(stream)

    def refuse(self, stream_id: int, code: int, *, counts: bool = True) -> None:
        """Send a RST_STREAM for this id, unless an error has ended the connection: its GOAWAY says all. `counts` as for
        `Outbox.put`."""
        if self.error is None:
            self.sending.outbox.put_reset(stream_id, code, counts=counts)
        self.table.recent_resets.add(stream_id)

    def go_away(self, last_id: int, code: int, debug: bytes) -> None:
        """Send GOAWAY."""
        self.sending.outbox.put(encode_goaway(last_id, code, debug[:MAX_REASON]))
        self.goaway_announced = True

    def fail(self, error: ProtocolError) -> None:
        """See Core.fail. Whatever is too much or too fast ends with ENHANCE_YOUR_CALM."""
        if self.error is None:
            code = Http2Code.ENHANCE_YOUR_CALM if isinstance(error, TooMuch) else Http2Code[error.code.name]
            self.error = ProtocolError(code, error.reason)
            self.go_away(self.table.last_remote, code, error.reason.encode())
            self.goaway_sent = True

"""What both directions of a muxado connection share: its streams, its sending side, and whether it is over."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from muxpy._config import SessionConfig
from muxpy.frame.muxado import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    encode_data_header,
    encode_goaway,
    encode_rst,
    encode_wnd_inc,
    set_fin,
)
from muxpy.proto._changes import Counters, RemoteGoAway
from muxpy.proto._limits import MAX_REASON
from muxpy.proto._reading import Reading
from muxpy.proto._sending import Sending
from muxpy.proto._stream import StreamState
from muxpy.proto._window import Budget

from ._table import StreamTable

if TYPE_CHECKING:
    from muxpy._codes import ProtocolError

__all__ = ["Common"]


class _Framing:
    header_size: Final = HEADER_SIZE
    max_payload: Final = MAX_PAYLOAD
    data_header = staticmethod(encode_data_header)
    set_end = staticmethod(set_fin)
    reset = staticmethod(encode_rst)
    window_update = staticmethod(encode_wnd_inc)


class Common:
    """The parts of one connection, and the few steps that both the peer's frames and the application take."""

    __slots__ = (
        "budget",
        "clock",
        "config",
        "counters",
        "error",
        "goaway_announced",
        "goaway_sent",
        "reading",
        "remote_goaway",
        "sending",
        "table",
    )

    def __init__(self, config: SessionConfig, clock: Callable[[], float], *, client: bool) -> None:
        self.config = config
        self.clock = clock
        self.counters = Counters()
        self.budget = Budget(config)
        self.table = StreamTable(config, self.budget, client=client)
        self.sending = Sending(config, self.counters, _Framing(), clock)
        self.reading = Reading(self.sending.outbox, self.counters, self.budget, clock, self.table.shrink_window)
        self.error: ProtocolError | None = None
        self.remote_goaway: RemoteGoAway | None = None
        self.goaway_announced = False
        self.goaway_sent = False  # the final one: no more streams are taken

    def reset(self, stream: StreamState, code: int, *, counts: bool = True) -> None:
        """End both directions of a living stream, and tell the peer by RST."""
        stream.reset(code, by_peer=False)
        self.refuse(stream.id, code, counts=counts)
        self.table.forget(stream)

    def refuse(self, stream_id: int, code: int, *, counts: bool = True) -> None:
        """Send an RST for this id. `counts` as for `Outbox.put`."""
        self.sending.outbox.put_reset(stream_id, code, counts=counts)
        self.table.recent_resets.add(stream_id)

    def go_away(self, last_id: int, code: int, debug: bytes) -> None:
        """Send GOAWAY."""
        self.sending.outbox.put(encode_goaway(last_id, code, debug[:MAX_REASON]))
        self.goaway_announced = True

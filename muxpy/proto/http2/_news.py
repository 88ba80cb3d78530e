"""The resets that the peer's doings bring about, what they cost it, and news of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy._codes import ProtocolError
from muxpy._config import INITIAL_WINDOW
from muxpy.frame.http2 import Http2Code
from muxpy.proto._changes import Changes
from muxpy.proto._limits import WAKE, TokenBucket, reset_buckets
from muxpy.proto._state import RECV_FIN

from ._table import Past

if TYPE_CHECKING:
    from ._common import Common
    from ._stream import HttpStream

__all__ = ["USELESS", "News", "on_itself"]

USELESS: Final = "the peer sends frames that do nothing too fast"
"""Why the session ends if they use up the tokens for resets."""

NOTHING: Final = Changes()
"""What has changed while no read is acted on; nothing is ever put into it."""


class News:
    """What one read has changed on streams, and the resets that it makes us send.

    `resets` limits the peer's resets of its own streams and its frames that do nothing, `provoked` those that it makes
    this side send (rapid reset: see `_limits`).
    """

    __slots__ = ("_common", "_table", "arrived", "changes", "provoked", "resets")

    def __init__(self, common: Common) -> None:
        self._common = common
        self._table = common.table
        self.changes: Changes
        """Of the read that is being acted on."""
        self.arrived: list[HttpStream] = []
        """Streams for which it has brought data, a head or an end."""
        self.resets: TokenBucket
        self.provoked: TokenBucket
        config = common.config
        self.resets, self.provoked = reset_buckets(config.reset_burst, config.reset_rate, common.clock)

    def begin(self, changes: Changes) -> None:
        """The next read is acted on."""
        self.changes = changes
        self._table.ended = None
        if self.arrived:
            self.arrived = []

    def rest(self) -> None:
        """No read is acted on: let go of the streams of the last one."""
        self.begin(NOTHING)

    # ---- what came ----

    def arrived_on(self, stream: HttpStream) -> None:
        """There is something new on the stream, be it bytes, a head or its end."""
        if stream.incoming.arriving is None:
            stream.incoming.arriving = []
            self.arrived.append(stream)
            self.changes.work += WAKE

    def ended(self, stream: HttpStream) -> None:
        """The peer has ended its direction."""
        if stream.expected:
            self.reset(stream, Http2Code.PROTOCOL_ERROR)  # the body is shorter than was announced
            return
        stream.advance(RECV_FIN)
        self._table.ended = None
        if stream.phase.over:
            self._table.forget(stream)
            self.changes.streams = True
        elif stream.incoming.size != INITIAL_WINDOW:
            self._table.shrink_window(stream)
        if not stream.closed:  # nobody receives on a closed stream
            self.arrived_on(stream)

    # ---- resets ----

    def reset(self, stream: HttpStream, code: Http2Code) -> None:
        """Answer a rule that the peer broke, or its data for a stream that the application has closed (CANCEL; NO_ERROR
        after a response)."""
        if code is not Http2Code.CANCEL and code is not Http2Code.NO_ERROR:  # the peer did not cause the close
            self.provoked.spend()
        self._common.reset(stream, code)
        self.note_reset(stream)

    def refuse(self, stream_id: int, code: Http2Code) -> None:
        """The same for a stream that does not live."""
        self.provoked.spend()
        self._common.refuse(stream_id, code)

    def give_up(self, stream: HttpStream, code: int) -> None:
        """The peer has reset the stream, or will not handle it."""
        stream.reset(code, by_peer=True)
        self._table.reset_there.add(stream.id)
        self._table.forget(stream)
        self.note_reset(stream)

    def note_reset(self, stream: HttpStream) -> None:
        """The stream is over before its time."""
        changes = self.changes
        changes.reset.append(stream)
        changes.streams = True
        changes.work += WAKE

    def end_stream(self, stream_id: int, error: ProtocolError) -> None:
        """The error is the stream's, in whatever state that is. One that is idle must not be reset, so there it is the
        connection's."""
        stream = self._table.live.get(stream_id)
        if stream is not None:
            self.reset(stream, Http2Code(error.code))
            return
        if self._table.past(stream_id) is Past.IDLE:
            raise error
        self.refuse(stream_id, Http2Code(error.code))  # also where it may have crossed a reset: it was always wrong


def on_itself(stream_id: int) -> ProtocolError:
    """The error of a stream that depends on itself (RFC 7540, 5.3.1)."""
    return ProtocolError(Http2Code.PROTOCOL_ERROR, f"stream {stream_id} depends on itself")

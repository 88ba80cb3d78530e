"""What may take only so long: a header block until it is whole, and data until it finds window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import Http2Code

if TYPE_CHECKING:
    from ._common import Common
    from ._messages import Messages
    from ._stream import HttpStream

__all__ = ["Patience"]

WORTHWHILE: Final = 4096
"""Bytes of data within `send_timeout` that count as progress. A peer that takes less keeps what waits for it as well as
with no window at all (CVE-2019-9511, CVE-2019-9517)."""

REST_PATIENCE: Final = 1.0
"""Seconds that a client has to end a request after the response."""


class Patience:
    """Whom the peer keeps waiting, and for how long. To be asked every second or so."""

    __slots__ = ("_common", "_messages", "_sent", "_since")

    def __init__(self, common: Common, messages: Messages) -> None:
        self._common = common
        self._messages = messages
        self._since = common.clock()  # since when data waits for the window of the connection
        self._sent = 0  # bytes of data that had been sent by then

    def overdue(self, now: float) -> ProtocolError | None:
        """The error of a peer that takes too long for what concerns the whole connection."""
        return self._messages.overdue(now) or self._without_credit(now)

    def _without_credit(self, now: float) -> ProtocolError | None:
        """Nothing moves for want of the connection's window, whatever the streams' windows are: no stream is to
        blame."""
        common = self._common
        scheduler, sent, limit = common.sending.scheduler, common.counters.data_sent, common.config.send_timeout
        if limit is None or not scheduler.waiting or scheduler.credit >= WORTHWHILE or sent - self._sent >= WORTHWHILE:
            self._since, self._sent = now, sent
        elif now - self._since >= limit:
            return ProtocolError(
                Http2Code.ENHANCE_YOUR_CALM, f"data waited for the connection's window for {limit:g} s"
            )
        return None

    def reset_stuck(self, now: float) -> list[HttpStream]:
        """Reset the streams whose data has waited for their window for `send_timeout`, and return them."""
        limit = self._common.config.send_timeout
        if limit is None:
            return []
        stuck = [stream for stream in self._common.table.live.values() if _waits_since(stream, now) >= limit]
        for stream in stuck:
            self._common.reset(stream, Http2Code.CANCEL)
        return stuck

    def end_requests(self, now: float) -> bool:
        """Tell the peer to send no more of requests that were answered `REST_PATIENCE` ago. Returns whether there are
        any."""
        late = [stream for stream in self._common.table.closing_since(now - REST_PATIENCE) if not stream.tunnel]
        for stream in late:
            self._common.reset(stream, Http2Code.NO_ERROR, counts=False)
        return bool(late)

    def rest(self) -> None:
        """Nothing goes on: let go of what is kept to save time."""
        self._common.encoder.forget()
        self._messages.rest()


def _waits_since(stream: HttpStream, now: float) -> float:
    outgoing = stream.outgoing
    if outgoing is None or outgoing.data is None or outgoing.blocked_since is None:
        return 0.0
    return now - outgoing.blocked_since

"""What bounds the memory that a peer can make a connection use."""

from collections import deque
from collections.abc import Callable
from typing import Final

from muxpy._codes import ErrorCode, ProtocolError

__all__ = ["MAX_CLOSING", "MAX_EXTENSION_STREAMS", "MAX_REASON", "RECENT_RESETS", "RecentResets", "TokenBucket"]

RECENT_RESETS: Final = 1024
"""How many streams that we reset are remembered, so that frames which crossed our RST are ignored rather than
answered again. As many as a peer may have open by default: all of them may be reset at once."""

MAX_REASON: Final = 1024
"""Bytes of a GOAWAY's debug text that are kept or sent. It is for a person to read."""


MAX_EXTENSION_STREAMS: Final = 16
"""Streams of extensions that the peer may have open at once. A heartbeat needs one."""


MAX_CLOSING: Final = 1024
"""Streams that we closed and the peer has not ended: so many are waited for, or `max_streams` if that is more. Past it
the oldest is reset, or a peer that never ends a stream would make each one that we open cost for ever."""


class TokenBucket:
    """Allows `burst` of something at once, and `rate` a second for good; then the session ends, with `reason`."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_reason", "_since")

    def __init__(self, burst: int, rate: float, clock: Callable[[], float], reason: str) -> None:
        self._burst = self._left = float(burst)
        self._rate = rate
        self._clock = clock
        self._since = clock()
        self._reason = reason

    def take(self) -> None:
        """Take one token. Raises ProtocolError if none is left."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            limits = f"more than {self._burst:g} at once and {self._rate:g} a second"
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"{self._reason}: {limits}")
        self._left -= 1


class RecentResets:
    """The ids of the streams reset last, the oldest forgotten first."""

    __slots__ = ("_ids", "_order")

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self._order: deque[int] = deque()

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, stream_id: int) -> None:
        """Remember one more; adding it again changes nothing."""
        if stream_id in self._ids:
            return
        if len(self._order) == RECENT_RESETS:
            self._ids.discard(self._order.popleft())
        self._ids.add(stream_id)
        self._order.append(stream_id)

"""What bounds the memory that a peer can make a connection use."""

from collections import deque
from collections.abc import Callable
from typing import Final

from muxpy._codes import ErrorCode, ProtocolError

__all__ = [
    "LOGIN_FRAMES",
    "MAX_CLOSING",
    "MAX_EXTENSION_STREAMS",
    "MAX_REASON",
    "RECENT_RESETS",
    "START",
    "WAKE",
    "RecentResets",
    "TokenBucket",
    "reset_buckets",
    "too_much_before_login",
]

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

LOGIN_FRAMES: Final = 64
"""Frames that a peer may send before it is admitted (`SessionConfig.wants_login`): to say who it is takes a stream and
a message, and some open a heartbeat and send a few beats meanwhile."""

# What arrives is cut into turns by the work of acting on it, in units of the cheapest frame: about a microsecond.
WAKE: Final = 4
"""Units for a stream that has something for its task: the task wakes, and mostly answers."""
START: Final = 8
"""Units for a stream that is opened: a task is started for it."""


class TokenBucket:
    """Allows `burst` of something together, and a sustained `rate` a second; past it the session ends with `reason`."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_reason", "_since")

    def __init__(self, burst: int, rate: float, clock: Callable[[], float], reason: str) -> None:
        self._burst = self._left = float(burst)
        self._rate = rate
        self._clock = clock
        self._since = clock()
        self._reason = reason

    def spend(self) -> None:
        """Spend one token. Raises ProtocolError if none is left."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            limits = f"more than {self._burst:g} at once and {self._rate:g} a second"
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"{self._reason}: {limits}")
        self._left -= 1


def reset_buckets(burst: int, rate: float, clock: Callable[[], float]) -> tuple[TokenBucket, TokenBucket]:
    """For the resets of the peer's own streams, and for those that it makes this side send."""
    return (
        TokenBucket(burst, rate, clock, "the peer resets its own streams too fast"),
        TokenBucket(burst, rate, clock, "the peer makes this side reset streams too fast"),
    )


def too_much_before_login(limit: str) -> ProtocolError:
    """The error of a peer that sends more than `limit` before it is admitted."""
    return ProtocolError(ErrorCode.PROTOCOL_ERROR, f"the peer sent more than {limit} before it was let in")


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

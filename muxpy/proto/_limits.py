"""Limits on the memory and the work that a peer can make a connection spend.

Resets are limited, not only counted (rapid reset, CVE-2023-44487). A peer that opens and resets streams in turns spends
two small frames each time, and this side the start of a handler. Places that are held until the handler has returned
(`Core.let_go`) bound how much runs together, but not how much is started. So a token bucket limits the peer's resets of
its own streams; a second one limits the resets that it provokes by breaking rules, the same attack with the roles
exchanged. Only the reset of a living stream counts. Counting more ended honest sessions: Go answers each frame for a
stream that it has closed, a client may retry what was refused, and an application may cancel two thousand streams
together.
"""

from collections.abc import Callable
from typing import Final

from muxpy._codes import ProtocolError, TooMuch

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
"""How many streams that we reset are remembered, so that frames which crossed our RST are ignored rather than answered
again. As many as a peer may have open by default: all of them may be reset together."""

MAX_REASON: Final = 1024
"""Bytes of a GOAWAY's debug text that are kept or sent. It is for a person to read."""

MAX_EXTENSION_STREAMS: Final = 16
"""Streams of extensions that the peer may have open at the same time. A heartbeat needs one."""

MAX_CLOSING: Final = 1024
"""Streams that we closed and the peer has not ended: this many may stay open, or `max_streams` if that is more. If
there are more, the oldest is reset. Otherwise a peer that never ends a stream would make each one that we open cost
memory for the rest of the session."""

LOGIN_FRAMES: Final = 64
"""Frames that a peer may send before it is admitted (`SessionConfig.wants_login`). Authentication takes a stream and a
message; some peers also open a heartbeat and send a few beats meanwhile."""

# Acting on received bytes is cut into turns by work. The unit is the work for the cheapest frame, about a microsecond.
WAKE: Final = 4
"""Units for a stream that has something for its task: the task wakes, and usually answers."""
START: Final = 8
"""Units for a stream that is opened: a task is started for it."""


class TokenBucket:
    """A rate limit: `burst` events may come together, and a sustained `rate` a second. Past that the session ends, with
    `reason`."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_reason", "_since")

    def __init__(self, burst: int, rate: float, clock: Callable[[], float], reason: str) -> None:
        self._burst = self._left = float(burst)
        self._rate = rate
        self._clock = clock
        self._since = clock()
        self._reason = reason

    def spend(self, reason: str = "") -> None:
        """Spend one token. Raises ProtocolError if none is left, for the bucket's reason unless there is another."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            limits = f"more than {self._burst:g} together and {self._rate:g} a second"
            raise TooMuch(f"{reason or self._reason}: {limits}")
        self._left -= 1


def reset_buckets(burst: int, rate: float, clock: Callable[[], float]) -> tuple[TokenBucket, TokenBucket]:
    """The buckets for the peer's resets of its own streams, of which frames that do nothing take as well, and for the
    resets that it makes this side send."""
    return (
        TokenBucket(burst, rate, clock, "the peer resets its own streams too fast"),
        TokenBucket(burst, rate, clock, "the peer makes this side reset streams too fast"),
    )


def too_much_before_login(limit: str) -> ProtocolError:
    """The error of a peer that sends more than `limit` before it is admitted."""
    return TooMuch(f"the peer sent more than {limit} before it was let in")


class RecentResets:
    """The ids of the streams reset last, the oldest forgotten first."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[int, None] = {}  # in their order; an empty one takes a tenth of a set and a deque

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, stream_id: int) -> None:
        """Remember one more id; adding an id again changes nothing."""
        if stream_id in self._ids:
            return
        if len(self._ids) == RECENT_RESETS:
            del self._ids[next(iter(self._ids))]
        self._ids[stream_id] = None

"""Receive windows: how much the peer may send, when it is told of more, and when a window grows."""

from math import inf

from muxpy._config import INITIAL_WINDOW, SessionConfig

__all__ = ["Budget", "ReceiveWindow", "RoundTrip"]

RTT_EPOCH = 10.0
"""Seconds that a smallest round trip is believed. Long enough to have seen the link quiet once, short enough
to follow a change of route."""

REACTION = 0.001
"""Seconds that a busy process takes to react, counted as the least round trip. On loopback the round trip itself is
less, and a window sized for it would hold two busy processes in lock step: measured, 64 KiB carry 0.4 GB/s there,
256 KiB 1.0 and 1 MiB 2."""

KEEPS_UP = 0.005
"""Seconds that data may lie unread while its reader still counts as keeping up: a few turns of a busy scheduler."""

UPDATE = 256 * 1024
"""Bytes that are worth a WND_INC of a window that is more than twice as large. More often would cost the peer's time;
waiting for half of a large window would let only half of it work."""

SAME = 1.25
"""Rates and round trips that differ by less than this factor count as the same."""


class RoundTrip:
    """The smallest round trip of the last one to two epochs, in seconds; None before the first sample.

    The smallest, because what lies above it is waiting in queues, and windows sized for that only lengthen them.
    """

    __slots__ = ("_current", "_epoch_end", "_previous", "best", "latest")

    def __init__(self) -> None:
        self.best: float | None = None
        self.latest: float | None = None
        self._previous = self._current = inf
        self._epoch_end = -inf

    def sample(self, rtt: float, now: float) -> None:
        """Take one measured round trip."""
        self.latest = rtt
        if now < self._epoch_end:
            self._current = min(self._current, rtt)
        else:
            recent = now < self._epoch_end + RTT_EPOCH
            self._previous = self._current if recent else inf
            self._current = rtt
            self._epoch_end = now + RTT_EPOCH
        self.best = min(self._previous, self._current)


class Budget:
    """What the windows of a connection may grow by in total, and the round trip they are sized for."""

    __slots__ = ("left", "max_window", "rtt")

    def __init__(self, config: SessionConfig) -> None:
        self.left = 0 if config.wants_login else config.receive_budget  # until the peer is admitted
        self.max_window = config.max_window
        self.rtt = RoundTrip()


class ReceiveWindow:
    """One stream's receive window.

    `available` is what the peer may still send. What the application consumes is gathered and returned in one WND_INC
    when it comes to half the window, or to an eighth of a large one: never a frame for each read, and never so late
    that a peer whose data is consumed has less than half a window to go on with.

    The window grows when it, and not the link or the reader, is what holds the peer back. A peer that is held back
    delivers one window each round trip. So if the bytes consumed in a round trip come to half the window, and the data
    did not lie unread for long, the window is too small and doubles; if they come to all of it, it doubles once more.
    It never becomes more than four times what was consumed in a round trip. A reader that is slow consumes slowly, and
    data that merely piled up was unread for long: neither makes it grow. Nor does a round trip that only became longer
    because the last growth filled a queue. It stops between about two and four times what the link holds in flight.

    What the peer sent before it knew of a growth says nothing about the window as it is now. So after one, a new
    measurement begins with the first byte that only the growth allowed.

    The round trip comes from the heartbeat, and from the window itself: bytes past the old limit can only be
    sent after a WND_INC was received, so the time from sending one to the first such byte is never less than a
    round trip, and is the round trip exactly when the peer was waiting for it.
    """

    __slots__ = (
        "_base",
        "_consumed",
        "_echo_limit",
        "_echo_sent",
        "_known_rate",
        "_known_rtt",
        "_since",
        "_unread_since",
        "available",
        "due_at",
        "owed",
        "received",
        "size",
    )

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.due_at = INITIAL_WINDOW // 2
        self.available = INITIAL_WINDOW
        self.owed = 0  # consumed, and not yet given back to the peer
        self.received = 0
        # The measurement: since when, the window then, and what was consumed up to the last update.
        self._since: float | None = None
        self._base = INITIAL_WINDOW
        self._consumed = 0
        self._unread_since = 0.0
        self._known_rate = self._known_rtt = 0.0  # of the last measurement that came to no growth
        self._echo_sent: float | None = None
        self._echo_limit = 0

    def arrived(self, count: int, was_empty: bool, now: float, rtt: RoundTrip) -> None:
        """Note `count` bytes that came in one batch; `was_empty` if nothing was unread before them."""
        self.received += count
        if was_empty:
            self._unread_since = now
        if self._since is None:
            self._measure_from(now)
        if self._echo_sent is not None and self.received > self._echo_limit:
            rtt.sample(now - self._echo_sent, now)
            self._echo_sent = None
            if self.size > self._base:
                self._measure_from(now)

    def _measure_from(self, now: float) -> None:
        self._since = now
        self._base = self.size
        self._consumed = -self.owed  # was consumed before

    def increment(self, now: float, budget: Budget) -> int:
        """What to tell the peer now: as much more as was taken, and what the window grows by."""
        self._consumed += self.owed
        self.due_at = self._update_size()
        growth = self._growth(now, budget)
        increment = self.owed + growth
        self.owed = 0
        if growth or self._echo_sent is None:
            self._echo_sent = now
            self._echo_limit = self.received + self.available
        self.available += increment
        return increment

    def _growth(self, now: float, budget: Budget) -> int:
        """What the measurement since the last growth says, and then what follows from it."""
        best = budget.rtt.best
        if best is None or self._since is None or now <= self._since:
            return 0
        rtt = max(best, REACTION)
        elapsed = now - self._since
        if 0 < self._known_rtt < rtt and elapsed < rtt:
            return 0  # the way has changed, or a queue has filled: that takes the true rate to tell
        # What took less than a round trip counts as if it had taken a whole one: so much is possible at least.
        elapsed = max(elapsed, rtt)
        rate = self._consumed / elapsed
        if self._only_queued(rate, rtt):
            rtt = self._known_rtt
        doublings = self._doublings(rate, rtt, now)
        growth = self._grow_to(self._base << doublings, budget)
        if growth:
            self.due_at = self._update_size()
            if doublings == 1 and self._consumed < self._base:
                self.due_at = self._base - self._consumed  # once: with that the window doubles again
        elif elapsed > rtt and self.size == self._base:
            self._known_rate, self._known_rtt = rate, rtt
            self._since = now
            self._consumed = 0
        return growth

    def _doublings(self, rate: float, rtt: float, now: float) -> int:
        """0, 1 or 2: how often the window of the measurement must double to hold what comes in a round trip, twice."""
        if now - self._unread_since > max(2 * rtt, KEEPS_UP):
            return 0  # it is the reader that is slow
        needed = rate * rtt
        return (2 * needed >= self._base) + (needed >= self._base)

    def _only_queued(self, rate: float, rtt: float) -> bool:
        """Whether the round trip became longer and the rate stayed: a queue has filled, the way is the same."""
        return rtt > self._known_rtt and self._known_rate / SAME < rate < self._known_rate * SAME

    def _grow_to(self, size: int, budget: Budget) -> int:
        growth = max(min(size - self.size, budget.max_window - self.size, budget.left), 0)
        self.size += growth
        budget.left -= growth
        return growth

    def _update_size(self) -> int:
        """Bytes to gather for an update."""
        return max(min(self.size // 2, UPDATE), self.size // 8)

    def shrink(self, budget: Budget) -> None:
        """Nothing more can come: give what the window grew by back to the budget."""
        budget.left += self.size - INITIAL_WINDOW
        self.size = INITIAL_WINDOW
        self.due_at = INITIAL_WINDOW // 2

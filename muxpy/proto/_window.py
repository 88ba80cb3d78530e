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
        self.left = config.receive_budget
        self.max_window = config.max_window
        self.rtt = RoundTrip()


class ReceiveWindow:
    """One stream's receive window.

    `available` is what the peer may still send. What the application consumes is gathered and returned in one
    WND_INC when it comes to half the window: never a frame for each read, and never so late that a peer whose
    data is consumed has less than half a window to go on with.

    The window doubles when it, and not the link or the reader, is what holds the peer back. A peer that is held
    back delivers one window each round trip. So over at least one round trip: if bytes consumed per second times
    the round trip come to more than about half the window, and the data did not lie unread for long, the window is too
    small. A reader that is slow consumes slowly, and data that merely piled up was unread for long: neither
    makes it grow. Nor does a round trip that only became longer because the last doubling filled a queue. It stops
    between about two and four times what the link holds in flight.

    The round trip comes from the heartbeat, and from the window itself: bytes past the old limit can only be
    sent after a WND_INC was received, so the time from sending one to the first such byte is never less than a
    round trip, and is the round trip exactly when the peer was waiting for it.
    """

    __slots__ = (
        "_consumed",
        "_echo_limit",
        "_echo_sent",
        "_last_growth",
        "_since",
        "_unread_since",
        "available",
        "owed",
        "received",
        "size",
    )

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.available = INITIAL_WINDOW
        self.owed = 0  # consumed, and not yet given back to the peer
        self.received = 0
        self._consumed = 0  # from _since to the last update, for the rate
        self._since: float | None = None
        self._unread_since = 0.0
        self._last_growth: tuple[float, float] | None = None  # rate and round trip when the window grew last
        self._echo_sent: float | None = None
        self._echo_limit = 0

    def arrived(self, count: int, was_empty: bool, now: float, rtt: RoundTrip) -> None:
        """Note `count` bytes that came in one batch; `was_empty` if nothing was unread before them."""
        self.received += count
        if was_empty:
            self._unread_since = now
            if self._since is None:
                self._since = now
        if self._echo_sent is not None and self.received > self._echo_limit:
            rtt.sample(now - self._echo_sent, now)
            self._echo_sent = None

    def due(self, count: int) -> bool:
        """Note that the application took `count` bytes; whether it is time to `give` the peer window."""
        self.owed += count
        return self.owed * 2 >= self.size

    def give(self, now: float, budget: Budget) -> int:
        """The increment to send now: what was taken, and what the window grows by."""
        self._consumed += self.owed
        increment = self.owed + self._growth(now, budget)
        self.owed = 0
        if self._echo_sent is None:
            self._echo_sent = now
            self._echo_limit = self.received + self.available
        self.available += increment
        return increment

    def _growth(self, now: float, budget: Budget) -> int:
        since = self._since
        if since is None:
            self._since = now
            return 0
        elapsed = now - since
        if budget.rtt.best is None or elapsed < budget.rtt.best:
            return 0
        rate = self._consumed / elapsed if elapsed > 0 else 0.0
        self._since = now
        self._consumed = 0
        rtt = max(budget.rtt.best, REACTION)
        kept_up = now - self._unread_since <= max(2 * rtt, KEEPS_UP)
        if not kept_up or not self._too_small(rate, rtt):
            return 0
        self._last_growth = (rate, rtt)
        growth = min(self.size, budget.max_window - self.size, budget.left)
        self.size += growth
        budget.left -= growth
        return growth

    def _too_small(self, rate: float, rtt: float) -> bool:
        if self._last_growth is not None:
            rate_then, rtt_then = self._last_growth
            if rtt <= rtt_then * SAME:
                rtt = min(rtt, rtt_then)
            elif rate_then / SAME < rate < rate_then * SAME:
                return False  # the last doubling brought nothing but a longer queue
        return rate * rtt * 2 >= self.size

    def release(self, budget: Budget) -> None:
        """Give what the window grew by back to the budget."""
        budget.left += self.size - INITIAL_WINDOW
        self.size = INITIAL_WINDOW

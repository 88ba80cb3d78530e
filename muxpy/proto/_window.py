"""Flow control towards the peer: how much the peer may send, when it is told of more window, and when a window grows.

Windows tune themselves, as TCP's do: one that is too small for the bandwidth-delay product doubles, much as in TCP's
slow start, until it is not what limits the sender.
"""

from math import inf

from muxpy._config import INITIAL_WINDOW, SessionConfig

__all__ = ["Budget", "ReceiveWindow", "RoundTrip"]

RTT_EPOCH = 10.0
"""Seconds that the smallest round trip counts for. Long enough to have seen the link quiet once, short enough to follow
a change of route."""

REACTION = 0.001
"""Seconds that a busy process takes to react: a shorter round trip counts as this. On loopback the round trip is a
tenth of it, and a window sized for that would hold two busy processes in lock step: measured, 64 KiB carry 0.4 GB/s
there, 256 KiB 1.0 and 1 MiB 2."""

KEEPS_UP = 0.005
"""Seconds that data may lie unread while its reader still counts as keeping up: a few passes of a busy scheduler."""

UPDATE = 256 * 1024
"""Bytes that are worth a WND_INC, if the window is more than twice as large. Less would send frames too often, which
costs the peer time; waiting for half of a large window would put only half of it to use."""

SAME = 1.25
"""Rates and round trips that differ by less than this factor count as the same."""


class RoundTrip:
    """The smallest round trip of the last one to two epochs, in seconds; None before the first sample.

    It is the smallest, because anything above that is time spent in queues, and windows sized for queues only lengthen
    them (bufferbloat).
    """

    __slots__ = ("_current", "_epoch_end", "_previous", "best", "latest")

    def __init__(self) -> None:
        self.best: float | None = None
        self.latest: float | None = None
        self._previous = self._current = inf
        self._epoch_end = -inf

    def sample(self, rtt: float, now: float) -> None:
        """Note one measured round trip, in seconds."""
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
    """What the windows of a connection may still grow by in total, and the round trip that they are sized for."""

    __slots__ = ("left", "max_window", "rtt")

    def __init__(self, config: SessionConfig) -> None:
        self.left = 0 if config.wants_login else config.receive_budget  # until the peer is admitted
        self.max_window = config.max_window
        self.rtt = RoundTrip()


class ReceiveWindow:
    """One stream's receive window.

    `available` is what the peer may still send. Bytes that the application consumes are gathered, and given back in one
    WND_INC when they come to half the window, or to an eighth of a large one. So there is no frame for each read, and a
    peer whose data is consumed always has at least half a window to go on with.

    The window grows when the window, and not the link or the reader, holds the peer back. A peer that is held back
    delivers one window each round trip. So if the bytes consumed in a round trip come to half the window, and the data
    did not lie unread for long, the window is too small, and doubles; if they come to the whole window, it doubles once
    more. It never becomes more than four times what was consumed in a round trip. A slow reader consumes slowly, and
    data that merely piled up was unread for long: neither makes the window grow. Nor does a round trip that became
    longer only because the last growth filled a queue. The window stops growing at about two to four times the
    bandwidth-delay product.

    A growth is judged by what it brought. Data that the peer sent before it knew of a growth says nothing about the new
    window. So a new measurement begins with the first byte that only the growth allowed, which is also when the round
    trip of that update is known. Bytes consumed in less than a round trip count as if they had taken a whole one, so a
    window that is far too small shows immediately: it grows from 64 KiB to 16 MiB in seven round trips.

    The round trip comes from the heartbeat, and from the window itself. The peer can send bytes past the old limit only
    after it has received a WND_INC, so the time from sending one to the first such byte is never less than a round
    trip, and it is exactly the round trip if the peer was waiting for the WND_INC.
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
        "unwritten",
    )

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.due_at = INITIAL_WINDOW // 2
        self.available = INITIAL_WINDOW
        self.owed = 0  # consumed, and not yet given back to the peer
        self.unwritten = 0  # given back, and not yet written: merged into one window update
        self.received = 0
        # The measurement: when it began, the window's size then, and the bytes consumed up to the last update.
        self._since: float | None = None
        self._base = INITIAL_WINDOW
        self._consumed = 0
        self._unread_since = 0.0
        self._known_rate = self._known_rtt = 0.0  # of the last measurement that led to no growth
        self._echo_sent: float | None = None  # when the WND_INC was sent that measures a round trip
        self._echo_limit = 0  # `received` must exceed it to end that measurement

    def arrived(self, count: int, was_empty: bool, now: float, rtt: RoundTrip) -> None:
        """Note `count` bytes that came in one batch. `was_empty`: nothing was unread before them."""
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
        self._consumed = -self.owed  # these bytes were consumed before the measurement

    def increment(self, now: float, budget: Budget) -> int:
        """Bytes of window to give the peer now: those that were consumed, and what the window grows by."""
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
        """Let the window grow by what the measurement since the last growth asks for. Returns by how many bytes."""
        best = budget.rtt.best
        if best is None or self._since is None or now <= self._since:
            return 0
        rtt = max(best, REACTION)
        elapsed = now - self._since
        if 0 < self._known_rtt < rtt and elapsed < rtt:
            return 0  # the route has changed, or a queue has filled: only the rate over a whole round trip can tell
        # Bytes that took less than a round trip count as if they had taken a whole one: the rate is at least that.
        elapsed = max(elapsed, rtt)
        rate = self._consumed / elapsed
        if self._only_queued(rate, rtt):
            rtt = self._known_rtt
        doublings = self._doublings(rate, rtt, now)
        growth = self._grow_to(self._base << doublings, budget)
        if growth:
            self.due_at = self._update_size()
            if doublings == 1 and self._consumed < self._base:
                self.due_at = self._base - self._consumed  # for one update: at that point the window doubles again
        elif elapsed > rtt and self.size == self._base:
            self._known_rate, self._known_rtt = rate, rtt
            self._since = now
            self._consumed = 0
        return growth

    def _doublings(self, rate: float, rtt: float, now: float) -> int:
        """How often the measured window must double to hold twice what comes in a round trip: 0, 1 or 2 times."""
        if now - self._unread_since > max(2 * rtt, KEEPS_UP):
            return 0  # the reader is slow, and not the window too small
        needed = rate * rtt
        return (2 * needed >= self._base) + (needed >= self._base)

    def _only_queued(self, rate: float, rtt: float) -> bool:
        """Whether the round trip became longer and the rate stayed the same: a queue has filled on the same route."""
        return rtt > self._known_rtt and self._known_rate / SAME < rate < self._known_rate * SAME

    def _grow_to(self, size: int, budget: Budget) -> int:
        growth = max(min(size - self.size, budget.max_window - self.size, budget.left), 0)
        self.size += growth
        budget.left -= growth
        return growth

    def _update_size(self) -> int:
        """Bytes to gather before a window update."""
        return max(min(self.size // 2, UPDATE), self.size // 8)

    def shrink(self, budget: Budget) -> None:
        """No more data can come: give back to the budget what the window grew by."""
        budget.left += self.size - INITIAL_WINDOW
        self.size = INITIAL_WINDOW
        self.due_at = INITIAL_WINDOW // 2

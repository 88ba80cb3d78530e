"""Flow control towards the peer: how much the peer may send, when it is told of more window, and when a window grows.

Windows tune themselves, as TCP's do: one that is too small for the bandwidth-delay product doubles, much as in TCP's
slow start, until it is not what limits the sender.
"""

from math import inf

from muxpy._config import INITIAL_WINDOW, SessionConfig

__all__ = ["Budget", "ReceiveWindow", "RoundTrip"]

FIRST_UPDATE = INITIAL_WINDOW // 2
"""Bytes that are worth the first WND_INC: half a window. It is one object for all streams."""

MEASURED = 4096
"""Bytes that a stream has received when its window begins to be measured: most streams carry less, and must cost
little."""

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


class Measurement:
    """What a window is judged by: see `ReceiveWindow`."""

    __slots__ = ("base", "consumed", "echo_limit", "echo_sent", "known_rate", "known_rtt", "since", "unread_since")

    def __init__(self, size: int, now: float, consumed: int) -> None:
        self.known_rate = self.known_rtt = 0.0  # of the last measurement that led to no growth
        self.echo_sent: float | None = None  # when the WND_INC was sent that measures a round trip
        self.echo_limit = 0  # this many bytes must be exceeded to end that measurement
        self.unread_since = now
        self.begin(size, now, consumed)

    def begin(self, size: int, now: float, consumed: int) -> None:
        """Measure a window of this size from now on. `consumed`: bytes up to the last update."""
        self.since = now
        self.base = size
        self.consumed = consumed

    def doublings(self, rate: float, rtt: float, now: float) -> int:
        """How often the measured window must double to hold twice what comes in a round trip: 0, 1 or 2 times."""
        if now - self.unread_since > max(2 * rtt, KEEPS_UP):
            return 0  # the reader is slow, and not the window too small
        needed = rate * rtt
        return (2 * needed >= self.base) + (needed >= self.base)

    def only_queued(self, rate: float, rtt: float) -> bool:
        """Whether the round trip became longer and the rate stayed the same: a queue has filled on the same route."""
        return rtt > self.known_rtt and self.known_rate / SAME < rate < self.known_rate * SAME


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

    __slots__ = ("_measurement", "available", "due_at", "owed", "received", "size", "unwritten")

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.due_at = FIRST_UPDATE
        self.available = INITIAL_WINDOW
        self.owed = 0  # consumed, and not yet given back to the peer
        self.unwritten = 0  # given back, and not yet written: merged into one window update
        self.received = 0
        self._measurement: Measurement | None = None  # until MEASURED bytes have come

    def arrived(self, count: int, was_empty: bool, now: float, rtt: RoundTrip, *, more: bool = True) -> None:
        """Note `count` bytes that came in one batch. `was_empty`: nothing was unread before them. `more` may come: if
        not, nothing begins to be measured."""
        self.received += count
        measurement = self._measurement
        if measurement is None:
            if more and self.received >= MEASURED:
                self._measurement = Measurement(self.size, now, -self.owed)  # these were consumed before it
            return
        if was_empty:
            measurement.unread_since = now
        if measurement.echo_sent is not None and self.received > measurement.echo_limit:
            rtt.sample(now - measurement.echo_sent, now)
            measurement.echo_sent = None
            if self.size > measurement.base:
                measurement.begin(self.size, now, -self.owed)

    def increment(self, now: float, budget: Budget) -> int:
        """Bytes of window to give the peer now: those that were consumed, and what the window grows by."""
        self.due_at = self._update_size()
        measurement, growth = self._measurement, 0
        if measurement is not None:
            measurement.consumed += self.owed
            growth = self._growth(measurement, now, budget)
            if growth or measurement.echo_sent is None:
                measurement.echo_sent = now
                measurement.echo_limit = self.received + self.available
        increment = self.owed + growth
        self.owed = 0
        self.available += increment
        return increment

    def _growth(self, measurement: Measurement, now: float, budget: Budget) -> int:
        """Let the window grow by what the measurement since the last growth asks for. Returns by how many bytes."""
        best = budget.rtt.best
        if best is None or now <= measurement.since:
            return 0
        rtt = max(best, REACTION)
        elapsed = now - measurement.since
        if 0 < measurement.known_rtt < rtt and elapsed < rtt:
            return 0  # the route has changed, or a queue has filled: only the rate over a whole round trip can tell
        # Bytes that took less than a round trip count as if they had taken a whole one: the rate is at least that.
        elapsed = max(elapsed, rtt)
        rate = measurement.consumed / elapsed
        if measurement.only_queued(rate, rtt):
            rtt = measurement.known_rtt
        base, consumed = measurement.base, measurement.consumed
        doublings = measurement.doublings(rate, rtt, now)
        growth = self._grow_to(base << doublings, budget)
        if growth:
            self.due_at = self._update_size()
            if doublings == 1 and consumed < base:
                self.due_at = base - consumed  # for one update: at that point the window doubles again
        elif elapsed > rtt and self.size == base:
            measurement.known_rate, measurement.known_rtt = rate, rtt
            measurement.begin(base, now, 0)
        return growth

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
        self.due_at = FIRST_UPDATE

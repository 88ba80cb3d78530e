"""A link simulated in steps of a clock driven by hand: what a receive window does under a rate and a round trip."""

from collections import deque
from collections.abc import Callable
from math import inf

from muxpy import SessionConfig
from muxpy.proto._window import Budget, ReceiveWindow

STEP = 0.002
MSS = 16383

Reader = Callable[[float, int], int]
"""How much of so many unread bytes the application takes at a time."""


def eager(now: float, unread: int) -> int:
    return unread


def consume(window: ReceiveWindow, count: int, now: float, budget: Budget) -> int:
    """The application takes `count` bytes; the increment to send for them, or 0."""
    window.owed += count
    return window.increment(now, budget) if window.owed >= window.due_at else 0


class Link:
    """One stream over a link: a sender with always more to send, a propagation delay, a reader."""

    def __init__(self, *, rtt: float, rate: float = inf, reader: Reader = eager, config: SessionConfig) -> None:
        self.window = ReceiveWindow()
        self.budget = Budget(config)
        self.now = 0.0
        self.unread = 0
        self.delivered = 0
        self.sizes = [self.window.size]
        self._rtt = rtt
        self._rate = rate
        self._reader = reader
        self._send_window = self.window.available
        self._data: deque[tuple[float, int]] = deque()
        self._updates: deque[tuple[float, int]] = deque()
        self._credit = 0.0

    def run(self, seconds: float, *, heartbeat: float | None = None) -> None:
        """Let time pass; `heartbeat`: seconds between samples of the true round trip."""
        stop = self.now + seconds
        next_beat = self.now if heartbeat is not None else inf
        while self.now < stop:
            self.now += STEP
            if heartbeat is not None and self.now >= next_beat:
                self.budget.rtt.sample(self._rtt, self.now)
                next_beat += heartbeat
            self._send()
            self._arrive()
            self._read()

    def _send(self) -> None:
        while self._updates and self._updates[0][0] <= self.now:
            self._send_window += self._updates.popleft()[1]
        self._credit = min(self._credit + self._rate * STEP, max(self._rate * STEP, 2.0 * MSS))
        count = int(min(self._send_window, self._credit))
        if count:
            self._credit -= count
            self._send_window -= count
            self._data.append((self.now + self._rtt / 2, count))

    def _arrive(self) -> None:
        while self._data and self._data[0][0] <= self.now:
            count = self._data.popleft()[1]
            self.window.available -= count
            assert self.window.available >= 0
            self.unread += count
            self.delivered += count
            self.window.arrived(count, self.unread == count, self.now, self.budget.rtt)

    def _read(self) -> None:
        count = min(self._reader(self.now, self.unread), self.unread)
        if count <= 0:
            return
        self.unread -= count
        increment = consume(self.window, count, self.now, self.budget)
        if increment:
            self._updates.append((self.now + self._rtt / 2, increment))
        if self.window.size != self.sizes[-1]:
            self.sizes.append(self.window.size)

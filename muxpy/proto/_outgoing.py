"""What stands in line to be sent on one stream, and waits for its window.

A sliver or crumb of window is too little to be worth a frame: sending it is the silly window syndrome.
"""

from typing import Final

__all__ = ["LEAST_SLIVER", "SLIVER", "Outgoing"]

SLIVER: Final = 4096
"""Bytes of window that are worth a frame if more data than that waits: a sixteenth of the first window. Most peers have
given window back before so little is left."""

LEAST_SLIVER: Final = 512
"""The same for a peer that gives no more window at a time."""


class Outgoing:
    """The data of a stream's one sender, in line. It is made when data first stands there: streams whose messages are
    all small and fit need none."""

    __slots__ = ("blocked", "blocked_since", "data", "deficit", "position", "scheduled", "sliver")

    def __init__(self) -> None:
        self.sliver = SLIVER  # less window than this holds back data that does not fit into it
        self.data: memoryview | None = None  # what the one sender wants to send: its own buffer, not a copy
        self.position = 0  # how many bytes of it are framed
        self.scheduled = False  # the stream stands in the scheduler's line
        self.deficit = 0  # bytes left of the stream's turn there
        self.blocked = 0.0  # seconds that data waited for window, up to the last time that window came
        self.blocked_since: float | None = None

    @property
    def unsent(self) -> int:
        """Bytes of the sender's data that are not framed yet."""
        return 0 if self.data is None else len(self.data) - self.position

    def held_back(self, window: int) -> bool:
        """Whether the window holds back the data that waits to be sent.

        It does so too if it would let only a sliver of the data go: silly window avoidance, Nagle's idea for windows
        (RFC 1122, 4.2.3.4). A peer that reads a little at a time, or means harm, gives window in crumbs; a frame for
        each crumb would cost both sides the most for the fewest bytes.
        """
        if window >= self.sliver:
            return False
        return window <= 0 or window < self.unsent

    def expect_crumbs(self, window: int) -> None:
        """No more window came for a long time: the peer's windows are as small as this one."""
        self.sliver = max(min(window, SLIVER), LEAST_SLIVER)

    def wait_for_window(self, now: float) -> None:
        """There is data to send, and no window for it."""
        if self.blocked_since is None:
            self.blocked_since = now

    def blocked_until(self, now: float) -> float:
        """Seconds that data has waited for window so far."""
        return self.blocked if self.blocked_since is None else self.blocked + (now - self.blocked_since)

    def window_came(self, now: float) -> float:
        """There is window again, or nobody waits for it any more. Returns for how many seconds somebody did."""
        if self.blocked_since is None:
            return 0.0
        waited = now - self.blocked_since
        self.blocked += waited
        self.blocked_since = None
        return waited

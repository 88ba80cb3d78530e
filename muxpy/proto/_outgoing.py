"""What one stream has to send: its window, and the data of the one sender."""

from typing import Final

__all__ = ["LEAST_SLIVER", "SLIVER", "Outgoing"]

SLIVER: Final = 4096
"""Bytes of window that are worth a frame, if more than that waits to be sent: a sixteenth of the first window. Most
peers have given window back before this little is left."""

LEAST_SLIVER: Final = 512
"""The same for a peer that was seen to give no more at a time."""


class Outgoing:
    """The sending direction of one stream."""

    __slots__ = (
        "blocked",
        "blocked_since",
        "cut_short",
        "data",
        "deficit",
        "position",
        "scheduled",
        "sent",
        "sliver",
        "window",
    )

    def __init__(self, window: int) -> None:
        self.window = window
        """Bytes that the peer lets us send; below 0 where a protocol lets it take window back."""
        self.sliver = SLIVER  # less window than this holds back what does not fit into it
        self.data: memoryview | None = None  # what the one sender wants sent: its own buffer, not a copy
        self.position = 0  # how much of it was framed
        self.cut_short = False  # a sender gave up: an end of the direction would pass for a clean one
        self.scheduled = False  # it stands in the scheduler's line
        self.deficit = 0  # bytes left of its turn there
        self.sent = 0
        self.blocked = 0.0  # seconds that data waited for window, up to the last time that some came
        self.blocked_since: float | None = None

    @property
    def unsent(self) -> int:
        """Bytes of the sender's that are not framed yet."""
        return 0 if self.data is None else len(self.data) - self.position

    @property
    def held_back(self) -> bool:
        """Whether the window holds back what waits to be sent.

        It does also if it would let go a sliver of it: the silly window syndrome (RFC 1122, 4.2.3.4). A peer that reads
        a little at a time, or means harm, gives window in crumbs; sending each in a frame of its own would cost both
        sides most for least.
        """
        window = self.window
        if window >= self.sliver:
            return False
        return window <= 0 or window < self.unsent

    def expect_crumbs(self) -> None:
        """This was all the window that came for long: the peer's windows are that small."""
        self.sliver = max(min(self.window, SLIVER), LEAST_SLIVER)

    def wait_for_window(self, now: float) -> None:
        """There is data to send and no window for it."""
        if self.blocked_since is None:
            self.blocked_since = now

    def window_came(self, now: float) -> float:
        """There is window again, or nobody waits for it any more: for how many seconds somebody did."""
        if self.blocked_since is None:
            return 0.0
        waited = now - self.blocked_since
        self.blocked += waited
        self.blocked_since = None
        return waited

"""What a core tells the shell about what it received, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxpy._config import INITIAL_WINDOW

if TYPE_CHECKING:
    from muxpy.frame import Buffer

    from ._stream import StreamState

__all__ = ["Changes", "Counters", "RemoteGoAway"]


@dataclass(slots=True, init=False)
class Changes:
    """What one batch of received bytes changed. A stream stands in a list once, whatever came for it."""

    opened: list[StreamState]
    """Streams that the peer opened, in order. Each holds a place in the backlog until `Core.accepted`."""
    readable: list[StreamState]
    """Streams with new data or the peer's FIN."""
    direct: list[StreamState]
    """Streams whose new data is to be passed on without being kept: see `Core.pass_on`."""
    writable: list[StreamState]
    """Streams whose send window was used up and is open again."""
    reset: list[StreamState]
    """Streams that ended by a reset, or because the peer goes away without having handled them."""
    rest: Buffer
    """What was not looked at, because the bytes before it were work enough for one turn: to be given again, first."""
    work: int
    """What acting on it costs, beyond a unit for each frame: see `_limits`."""
    streams: bool
    """Whether a stream began or ended."""
    may_open: bool
    """Whether the peer, which had as many streams as it takes, takes more."""
    ends: bool
    """Whether the connection comes to its end: a rule was broken, or the peer goes away."""

    def __init__(self) -> None:  # one for each read: the generated one takes twice as long
        self.opened = []
        self.readable = []
        self.direct = []
        self.writable = []
        self.reset = []
        self.rest = b""
        self.work = 0
        self.streams = self.may_open = self.ends = False


@dataclass(frozen=True, slots=True)
class RemoteGoAway:
    """The peer's GOAWAY: the last stream of ours that it handled, why, and its debug text."""

    last_id: int
    code: int
    debug: bytes


@dataclass(slots=True)
class Counters:
    """Frames, bytes and streams, counted as they pass."""

    frames_received: int = 0
    frames_sent: int = 0
    data_received: int = 0
    """Payload bytes."""
    data_sent: int = 0
    window_updates_sent: int = 0
    window_updates_received: int = 0
    blocked_on_window: float = 0.0
    """Seconds that streams with data have waited for window, together, as far as those waits are over."""
    opened: int = 0
    accepted: int = 0
    refused: int = 0
    largest_window: int = INITIAL_WINDOW

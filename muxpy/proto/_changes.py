"""What a core tells the shell about received bytes, and its counters."""

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
    """What one batch of received bytes changed. A stream is in a list at most once, whatever came for it."""

    opened: list[StreamState]
    """Streams that the peer opened, in order. Each holds a place in the backlog until `Core.accepted`."""
    readable: list[StreamState]
    """Streams with new data or the peer's FIN."""
    direct: list[StreamState]
    """Streams whose new data the shell passes on before it is kept: see `Core.pass_on`."""
    writable: list[StreamState]
    """Streams whose send window was used up and is open again."""
    reset: list[StreamState]
    """Streams that ended by a reset, or because the peer goes away (GOAWAY) and has not handled them."""
    rest: Buffer
    """Bytes that were not looked at, because those before them were work enough for one turn. The next call of
    `Core.receive` gets them first."""
    work: int
    """What acting on these changes costs, beyond a unit for each frame: see `_limits`."""
    streams: bool
    """Whether a stream began or ended."""
    may_open_again: bool
    """Whether this side may open streams again, after the peer's limit held it back."""
    going_away: bool
    """Whether the connection comes to its end: a rule was broken, or the peer goes away."""

    def __init__(self) -> None:  # it runs once for each read, and the generated one takes twice as long
        self.opened = []
        self.readable = []
        self.direct = []
        self.writable = []
        self.reset = []
        self.rest = b""
        self.work = 0
        self.streams = self.may_open_again = self.going_away = False


@dataclass(frozen=True, slots=True)
class RemoteGoAway:
    """The peer's GOAWAY: the last of our streams that it handled, the error code, and its debug text."""

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
    """Seconds that streams with data have waited for window (flow control), added up; waits that still go on are left
    out."""
    opened: int = 0
    accepted: int = 0
    refused: int = 0
    largest_window: int = INITIAL_WINDOW

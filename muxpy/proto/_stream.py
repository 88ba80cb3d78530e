"""One stream's state: its phase, and its two directions.

Only the core and what it is made of change it; the shell reads it. It holds no task and waits for nothing.
"""

from __future__ import annotations

from typing import Protocol

from muxpy._codes import ErrorCode

from ._incoming import Incoming
from ._outgoing import Outgoing
from ._state import Event, Phase

__all__ = ["Handle", "StreamState"]


class Handle(Protocol):
    """The way back: what a stream tells the shell. Called in the midst of other work: it must not raise, nor wait."""

    @property
    def unsent(self) -> bool:
        """Whether `sent` is still to come for what was submitted."""

    def sent(self) -> None:
        """All that was submitted is in a batch that has been written."""

    def writable(self) -> None:
        """The send window was used up, and is open again."""

    def readable(self) -> None:
        """There is new data, or the peer has ended its direction."""

    def arrived(self) -> None:
        """There is new data to be passed on: see `Core.pass_on`."""

    def over(self) -> None:
        """The stream was reset, or the session has ended."""


class StreamState:
    """State of one stream."""

    __slots__ = (
        "closed",
        "extension",
        "handle",
        "held",
        "id",
        "incoming",
        "outgoing",
        "phase",
        "priority",
        "reset_by_peer",
        "reset_code",
        "stream_type",
    )

    def __init__(
        self, stream_id: int, priority: int, stream_type: int, *, send_window: int, extension: bool = False
    ) -> None:
        self.id = stream_id
        self.priority = priority
        self.stream_type = stream_type
        self.extension = extension  # its data goes before that of others
        self.handle: Handle | None = None  # of the shell; None as long as nobody has taken the stream
        self.held = False  # keeps its place though it may have ended: see `Core.let_go`
        self.closed = False  # by the application, which has closed or reset it
        self.phase = Phase.OPEN
        self.reset_code: int | None = None
        self.reset_by_peer = False
        self.incoming = Incoming()
        self.outgoing = Outgoing(send_window)

    def advance(self, event: Event) -> bool:
        """Go through the table; False, and nothing changed, if the event is not legal now."""
        phase = self.phase.after.get(event)
        if phase is None:
            return False
        self.phase = phase
        return True

    @property
    def wanted(self) -> bool:
        """Whether the stream is still of use to the application: not over, and not closed by it."""
        return not self.phase.over and self.phase is not Phase.CLOSING

    def reset(self, code: int, *, by_peer: bool) -> None:
        """Both directions end here. What was unread is lost, as the protocol says."""
        self.advance(Event.RESET)
        self.reset_code = code
        self.reset_by_peer = by_peer
        self.outgoing.data = None
        self.incoming.increment = 0
        self.incoming.drop()

    @property
    def retryable(self) -> bool:
        """Whether the peer cannot have acted on the stream."""
        return self.reset_by_peer and self.reset_code == ErrorCode.REFUSED_STREAM

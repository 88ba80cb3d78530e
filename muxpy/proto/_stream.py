"""One stream's state: its phase, and its two directions.

Only the core and its parts change the state; the shell reads it. It holds no task and waits for nothing.
"""

from __future__ import annotations

from typing import Protocol

from muxpy._codes import ErrorCode

from ._incoming import Incoming
from ._outgoing import Outgoing
from ._state import Event, Phase

__all__ = ["Handle", "StreamState"]


class Handle(Protocol):
    """The calls from the core to the shell about one stream. They come in the midst of other work, so they must neither
    raise nor wait."""

    @property
    def unsent(self) -> bool:
        """Whether data was submitted for which `sent` was not called yet."""

    def sent(self) -> None:
        """All data that was submitted is in a batch that has been written."""

    def writable(self) -> None:
        """The send window was used up, and is open again."""

    def readable(self) -> None:
        """There is new data, or the peer has ended its direction."""

    def arrived(self) -> None:
        """There is new data to pass on: see `Core.pass_on`."""

    def ended(self) -> None:
        """The stream is over: it was closed or reset, or the session has ended."""


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
        self.extension = extension  # it belongs to an extension: its data goes before that of others
        self.handle: Handle | None = None  # the shell's; None as long as nobody has taken the stream
        self.held = False  # it keeps its place even when it has ended: see `Core.let_go`
        self.closed = False  # the application has closed or reset it
        self.phase = Phase.OPEN
        self.reset_code: int | None = None
        self.reset_by_peer = False
        self.incoming = Incoming()
        self.outgoing = Outgoing(send_window)

    def advance(self, event: Event) -> bool:
        """Go through the table of `_state`. Returns False, and changes nothing, if the event is not legal now."""
        phase = self.phase.after.get(event)
        if phase is None:
            return False
        self.phase = phase
        return True

    @property
    def wanted(self) -> bool:
        """Whether the application still uses the stream: it is not over, and the application has not closed it."""
        return not self.phase.over and self.phase is not Phase.CLOSING

    def reset(self, code: int, *, by_peer: bool) -> None:
        """End both directions. Unread data is lost, as the protocol says."""
        self.advance(Event.RESET)
        self.reset_code = code
        self.reset_by_peer = by_peer
        self.outgoing.data = None
        self.incoming.window.unwritten = 0
        self.incoming.drop()

    @property
    def retryable(self) -> bool:
        """Whether the peer cannot have acted on the stream."""
        return self.reset_by_peer and self.reset_code == ErrorCode.REFUSED_STREAM

"""One stream's state: its phase, and its two directions.

Only the core and its parts change the state; the shell reads it. It holds no task and waits for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from muxpy._codes import ErrorCode

from ._incoming import Incoming
from ._state import CLOSING, OPEN, RESET, Event, Phase

if TYPE_CHECKING:
    from ._outgoing import Outgoing

__all__ = ["ExtensionStream", "Handle", "StreamState"]


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
    """State of one stream. What not every stream needs is made when it is needed: idle streams must cost little."""

    __slots__ = (
        "_reset",
        "closed",
        "cut_short",
        "ends",
        "handle",
        "held",
        "id",
        "incoming",
        "outgoing",
        "phase",
        "priority",
        "send_window",
        "sent",
        "stream_type",
    )

    extension = False
    """Whether it belongs to an extension: its data goes before that of others."""

    def __init__(
        self, stream_id: int, priority: int, stream_type: int, send_window: int, incoming: Incoming | None = None
    ) -> None:
        self.id = stream_id
        self.priority = priority
        self.stream_type = stream_type
        self.handle: Handle | None = None  # the shell's; None as long as no task has waited on the stream
        self.held = False  # it keeps its place even when it has ended: see `Core.let_go`
        self.closed = False  # the application has closed or reset it
        self.phase: Phase = OPEN
        self._reset: tuple[int, bool] | None = None  # the code, and whether the peer sent it
        self.incoming = Incoming() if incoming is None else incoming
        self.send_window = send_window
        """Bytes that the peer lets us send; below 0 where a protocol lets the peer take window back."""
        self.sent = 0  # bytes
        self.ends = False  # our direction ends with the data that was submitted last, and has ended when it is framed
        self.cut_short = False  # a sender gave up: with a FIN, the peer would take the part for the whole
        self.outgoing: Outgoing | None = None

    def advance(self, event: Event) -> bool:
        """Go through the table of `_state`. Returns False, and changes nothing, if the event is not legal now."""
        phase = self.phase.after[event]
        if phase is None:
            return False
        self.phase = phase
        return True

    @property
    def wanted(self) -> bool:
        """Whether the application still uses the stream: it is not over, and the application has not closed it."""
        return not self.phase.over and self.phase is not CLOSING

    def reset(self, code: int, *, by_peer: bool) -> None:
        """End both directions. Unread data is lost, as the protocol says."""
        self.advance(RESET)
        self._reset = code, by_peer
        if self.outgoing is not None:
            self.outgoing.data = None
        self.incoming.unwritten = 0
        self.incoming.drop()

    @property
    def reset_code(self) -> int | None:
        """The code of the reset that ended the stream; None if none did."""
        return None if self._reset is None else self._reset[0]

    @property
    def reset_by_peer(self) -> bool:
        """Whether the peer has reset the stream."""
        return self._reset is not None and self._reset[1]

    @property
    def unsent(self) -> int:
        """Bytes in line that are not framed yet."""
        return 0 if self.outgoing is None else self.outgoing.unsent

    @property
    def retryable(self) -> bool:
        """Whether the peer cannot have acted on the stream."""
        return self.reset_by_peer and self.reset_code == ErrorCode.REFUSED_STREAM


class ExtensionStream(StreamState):
    """State of a stream that belongs to an extension."""

    __slots__ = ()

    extension = True

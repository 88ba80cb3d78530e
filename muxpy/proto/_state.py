"""A stream's life, as one table.

Theory of operation: a stream has two directions. Each ends with a FIN (half-close); an RST, from either side, ends both
together. One more step is ours alone: the application may close the stream while the peer is still sending.
The stream then waits for the peer's FIN (CLOSING), and anything else that arrives is answered by RST CANCEL.

                        SEND_FIN                    RECV_FIN
              OPEN ───────────────► LOCAL_DONE ───────────────► CLOSED
               │ │                      │                          ▲
               │ │ RECV_FIN             │ CLOSE                    │ RECV_FIN
               │ └─────► REMOTE_DONE    └──────────► CLOSING ──────┤
               │             │ SEND_FIN, CLOSE          ▲          │
               │             └──────────────────────────┼──────────┘
               └──────────────── CLOSE ─────────────────┘
    any of these ── RESET ──► GONE

An event that a phase does not list is not legal there. The caller decides what that means: an error for our own side, a
reset for the peer's. The connection forgets streams that are CLOSED or GONE.
"""

from __future__ import annotations

from enum import Enum, IntEnum

__all__ = ["CLOSE", "CLOSED", "CLOSING", "OPEN", "RECV_FIN", "RESET", "SEND_FIN", "Event", "Phase"]


class Event(IntEnum):
    """What can happen to a stream: a column of the table."""

    SEND_FIN = 0
    RECV_FIN = 1
    CLOSE = 2
    """The application closed the stream: nothing more is sent and nothing more is read."""
    RESET = 3


class Phase(Enum):
    """Where a stream is in its life, and what that allows. Plain attributes, since every message reads them."""

    OPEN = "open"
    """Both sides may send."""
    LOCAL_DONE = "local done"
    """We sent FIN; the peer may send."""
    REMOTE_DONE = "remote done"
    """The peer sent FIN; we may send."""
    CLOSING = "closing"
    """We sent FIN and do not read any more; the peer has not ended its side yet."""
    CLOSED = "closed"
    """Both sides ended in order."""
    GONE = "gone"
    """Reset, by either side."""

    def __init__(self, _: str) -> None:
        self.sends = self.name in ("OPEN", "REMOTE_DONE")
        """Whether data may be submitted."""
        self.reads = self.name in ("OPEN", "LOCAL_DONE")
        """Whether the peer's data is still wanted."""
        self.peer_done = self.name in ("REMOTE_DONE", "CLOSED")
        """Whether the peer has ended its direction in order."""
        self.over = self.name in ("CLOSED", "GONE")
        """Whether the core has forgotten the stream."""
        self.after: tuple[Phase | None, ...] = ()
        """The phase after each event; None where the event is not legal."""


# The columns are the events, in their order: SEND_FIN, RECV_FIN, CLOSE, RESET.
Phase.OPEN.after = Phase.LOCAL_DONE, Phase.REMOTE_DONE, Phase.CLOSING, Phase.GONE
Phase.LOCAL_DONE.after = None, Phase.CLOSED, Phase.CLOSING, Phase.GONE
Phase.REMOTE_DONE.after = Phase.CLOSED, None, Phase.CLOSED, Phase.GONE
Phase.CLOSING.after = None, Phase.CLOSED, None, Phase.GONE
Phase.CLOSED.after = Phase.GONE.after = None, None, None, None

# Names of the module, for what each stream asks: to find a member by its class takes as long as two calls.
SEND_FIN, RECV_FIN, CLOSE, RESET = Event
OPEN, REMOTE_DONE, CLOSING, CLOSED = Phase.OPEN, Phase.REMOTE_DONE, Phase.CLOSING, Phase.CLOSED

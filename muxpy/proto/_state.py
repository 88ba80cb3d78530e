"""A stream's life, as one table.

Theory of operation: a stream has two directions. Each ends with a FIN; both end at once with an RST, whoever
sends it. One more step is ours alone: the application may close the stream while the peer is still sending.
The stream then waits for the peer's FIN (CLOSING), and whatever else arrives is answered by RST CANCEL.

                        SEND_FIN                    RECV_FIN
              OPEN ───────────────► LOCAL_DONE ───────────────► CLOSED
               │ │                      │                          ▲
               │ │ RECV_FIN             │ CLOSE                    │ RECV_FIN
               │ └─────► REMOTE_DONE    └──────────► CLOSING ──────┤
               │             │ SEND_FIN, CLOSE          ▲          │
               │             └──────────────────────────┼──────────┘
               └──────────────── CLOSE ─────────────────┘
    any of these ── RESET ──► GONE

An event that a phase does not list is not legal there; whoever asks decides what that means (an error for our
own side, a reset for the peer's). CLOSED and GONE streams are forgotten by the connection.
"""

from enum import Enum, auto

__all__ = ["Event", "Phase", "next_phase"]


class Phase(Enum):
    """Where a stream is in its life, and what that allows: `sends` if data may be submitted, `reads` if the peer's
    data is still wanted. Plain attributes of the member, since every message asks for them."""

    OPEN = "open", True, True
    """Both sides may send."""
    LOCAL_DONE = "local done", False, True
    """We sent FIN; the peer may send."""
    REMOTE_DONE = "remote done", True, False
    """The peer sent FIN; we may send."""
    CLOSING = "closing", False, False
    """We sent FIN and do not read any more; the peer has not ended its side yet."""
    CLOSED = "closed", False, False
    """Both sides ended in order."""
    GONE = "gone", False, False
    """Reset, by either side."""

    def __init__(self, _: str, sends: bool, reads: bool) -> None:
        self.sends = sends
        self.reads = reads


class Event(Enum):
    """What can happen to a stream."""

    SEND_FIN = auto()
    RECV_FIN = auto()
    CLOSE = auto()
    """The application closed the stream: nothing more is sent and nothing more is read."""
    RESET = auto()


TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    Phase.OPEN: {
        Event.SEND_FIN: Phase.LOCAL_DONE,
        Event.RECV_FIN: Phase.REMOTE_DONE,
        Event.CLOSE: Phase.CLOSING,
        Event.RESET: Phase.GONE,
    },
    Phase.LOCAL_DONE: {
        Event.RECV_FIN: Phase.CLOSED,
        Event.CLOSE: Phase.CLOSING,
        Event.RESET: Phase.GONE,
    },
    Phase.REMOTE_DONE: {
        Event.SEND_FIN: Phase.CLOSED,
        Event.CLOSE: Phase.CLOSED,
        Event.RESET: Phase.GONE,
    },
    Phase.CLOSING: {
        Event.RECV_FIN: Phase.CLOSED,
        Event.RESET: Phase.GONE,
    },
    Phase.CLOSED: {},
    Phase.GONE: {},
}


def next_phase(phase: Phase, event: Event) -> Phase | None:
    """The phase after `event`, or None where the event is not legal."""
    return TRANSITIONS[phase].get(event)

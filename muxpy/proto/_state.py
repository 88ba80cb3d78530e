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
    """Where a stream is in its life."""

    OPEN = auto()
    """Both sides may send."""
    LOCAL_DONE = auto()
    """We sent FIN; the peer may send."""
    REMOTE_DONE = auto()
    """The peer sent FIN; we may send."""
    CLOSING = auto()
    """We sent FIN and do not read any more; the peer has not ended its side yet."""
    CLOSED = auto()
    """Both sides ended in order."""
    GONE = auto()
    """Reset, by either side."""


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

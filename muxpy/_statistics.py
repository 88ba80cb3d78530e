"""What a session can say about itself."""

from dataclasses import dataclass

__all__ = ["SessionStatistics"]


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """A moment's figures. Sizes are bytes, times are seconds, counters run from the start of the session."""

    rtt: float | None
    """The smallest round trip of the last seconds; None until one was measured."""
    latest_rtt: float | None
    """The round trip measured last."""
    streams_open: int
    """Streams that are not forgotten yet, extensions' among them."""
    streams_opened: int
    """Streams opened by this side."""
    streams_accepted: int
    """Streams opened by the peer and not refused."""
    streams_refused: int
    """Streams of the peer that were refused: past `max_streams`, the backlog, or after GOAWAY."""
    backlog: int
    """Streams that wait to be accepted."""
    frames_received: int
    frames_sent: int
    data_received: int
    """Payload bytes of DATA frames received."""
    bytes_received: int
    """All bytes received from the transport, after TLS."""
    bytes_sent: int
    """All bytes given to the transport, before TLS."""
    reads: int
    """Receive calls on the transport."""
    writes: int
    """Send calls on the transport, those that found it full among them."""
    control_frames_waiting: int
    """Control frames that wait to be written."""
    largest_window: int
    """The largest receive window of any stream so far."""
    receive_budget_left: int
    """How far windows may still grow."""
    heartbeat: bool
    """Whether heartbeats are sent and answered. False if switched off, or if the peer has none."""

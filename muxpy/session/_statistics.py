"""What a session and a stream can say about themselves. Sizes are bytes, times are seconds, and counters run from the
start. Taking them walks over nothing: a few microseconds, however many streams there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muxpy._help import document_fields
from muxpy.proto import Phase

if TYPE_CHECKING:
    from muxpy.proto import StreamState

    from ._engine import Engine

__all__ = ["SessionStatistics", "StreamStatistics", "of_session", "of_stream"]


@document_fields
@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """A session's figures at one moment. Sizes are bytes, times are seconds, counters run from the start."""

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
    """Whole frames received, of all kinds."""
    frames_sent: int
    """Frames given to the transport."""
    data_received: int
    """Payload bytes of DATA frames received."""
    data_sent: int
    """Payload bytes of DATA frames given to the transport."""
    bytes_received: int
    """All bytes received from the transport, after TLS."""
    bytes_sent: int
    """All bytes given to the transport, before TLS."""
    reads: int
    """Receive calls on the transport."""
    writes: int
    """Send calls on the transport, those that found it full among them."""
    window_updates_received: int
    """WND_INC frames received."""
    window_updates_sent: int
    """WND_INC frames given to the transport."""
    blocked_on_window: float
    """Seconds that streams with data to send have waited for the peer's window, added up over all streams. Waits that
    still go on are left out."""
    streams_waiting_to_send: int
    """Streams that have data and window, and wait for their turn: the transport takes less than they have."""
    control_frames_waiting: int
    """Control frames that wait to be written."""
    largest_window: int
    """The largest receive window of any stream so far."""
    receive_budget_left: int
    """How far windows may still grow."""
    heartbeat: bool
    """Whether heartbeats are sent and answered. False if switched off, or if the peer has none."""


@document_fields
@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """A stream's figures at one moment; after its end, its last ones, but for the window, which it has given back.
    Sizes are bytes, times are seconds."""

    data_received: int
    """Payload bytes received, whether or not they were read."""
    data_sent: int
    """Payload bytes given to the transport."""
    unread: int
    """Bytes received that wait for `receive_some`."""
    unsent: int
    """Bytes given to a `send_all` that waits, and not yet given to the transport."""
    send_window: int
    """Bytes that the peer lets this side send now."""
    receive_window: int
    """Bytes that this side lets the peer send now."""
    receive_window_size: int
    """What the receive window comes back to when all is read: 64 KiB at first, more as the link needs it; 64 KiB again
    when the peer has ended its direction and all is read."""
    blocked_on_window: float
    """Seconds that data has waited for the peer's window, until now."""
    finished: bool
    """Whether both directions have ended in order: neither a reset nor the session's end has cut anything off."""


def of_session(engine: Engine, *, heartbeat: bool) -> SessionStatistics:
    """Put together what the parts of a session know."""
    core, transport, reader, writer = engine.core, engine.transport, engine.reader, engine.writer
    counters, outbox = core.counters, core.sending.outbox
    return SessionStatistics(
        rtt=core.budget.rtt.best,
        latest_rtt=core.budget.rtt.latest,
        streams_open=len(core.streams),
        streams_opened=counters.opened,
        streams_accepted=counters.accepted,
        streams_refused=counters.refused,
        backlog=len(engine.backlog),
        frames_received=counters.frames_received,
        frames_sent=counters.frames_sent,
        data_received=counters.data_received,
        data_sent=counters.data_sent,
        bytes_received=reader.bytes_received,
        bytes_sent=writer.bytes_sent,
        reads=transport.reads,
        writes=transport.writes,
        window_updates_received=counters.window_updates_received,
        window_updates_sent=counters.window_updates_sent,
        blocked_on_window=counters.blocked_on_window,
        streams_waiting_to_send=core.sending.scheduler.waiting,
        control_frames_waiting=outbox.control_frames,
        largest_window=counters.largest_window,
        receive_budget_left=core.budget.left,
        heartbeat=heartbeat,
    )


def of_stream(state: StreamState, now: float) -> StreamStatistics:
    """Put together what a stream's state knows."""
    incoming, outgoing = state.incoming, state.outgoing
    since = outgoing.blocked_since
    return StreamStatistics(
        data_received=incoming.window.received,
        data_sent=outgoing.sent,
        unread=incoming.buffered,
        unsent=outgoing.unsent,
        send_window=max(outgoing.window, 0),
        receive_window=incoming.window.available,
        receive_window_size=incoming.window.size,
        blocked_on_window=outgoing.blocked + (now - since if since is not None else 0.0),
        finished=state.phase is Phase.CLOSED,
    )

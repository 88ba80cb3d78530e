"""The statistics of a session and of a stream. Taking them costs a few microseconds, however many streams there are:
nothing is walked over."""

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
    """A session's figures at one moment. Sizes are bytes, times are seconds, and counters count from the session's
    beginning."""

    rtt: float | None
    """The smallest round trip of the last ten to twenty seconds; None until one was measured."""
    latest_rtt: float | None
    """The round trip that was measured last; None until one was measured."""
    streams_open: int
    """Streams that have not ended in both directions, those of extensions included."""
    streams_opened: int
    """Streams opened by this side."""
    streams_accepted: int
    """Streams opened by the peer and not refused."""
    streams_refused: int
    """Streams of the peer that were refused: past `max_streams`, past the backlog, after GOAWAY, or because nobody
    takes streams."""
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
    """Send calls on the transport, including those that found it full."""
    window_updates_received: int
    """WND_INC frames received."""
    window_updates_sent: int
    """WND_INC frames given to the transport."""
    blocked_on_window: float
    """Seconds that streams with data to send have waited for the peer's window (flow control), added up over all
    streams. Waits that still go on are left out."""
    streams_waiting_to_send: int
    """Streams that have data and window, and wait for their turn: the transport takes less than they have
    (backpressure)."""
    control_frames_waiting: int
    """Control frames that wait to be written."""
    largest_window: int
    """The largest receive window of any stream so far."""
    receive_budget_left: int
    """How far receive windows may still grow, in total."""
    heartbeat: bool
    """Whether this side sends heartbeats (keepalives) and the peer answers them. False if heartbeats are switched off,
    or if the peer has none."""


@document_fields
@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """A stream's figures at one moment. Sizes are bytes, times are seconds. After the stream's end they stay as they
    were last, except for `receive_window_size`."""

    data_received: int
    """Payload bytes received, whether read or not."""
    data_sent: int
    """Payload bytes given to the transport."""
    unread: int
    """Received bytes that wait for `receive_some`."""
    unsent: int
    """Bytes of a `send_all` that waits, as far as they are not given to the transport yet."""
    send_window: int
    """Bytes that the peer lets this side send now."""
    receive_window: int
    """Bytes that this side lets the peer send now."""
    receive_window_size: int
    """The size of the receive window: how much the peer may send when all received data is read. 64 KiB at first, and
    more as the link needs it; 64 KiB again when the peer has ended its direction and all data is read."""
    blocked_on_window: float
    """Seconds that data has waited for the peer's window (flow control), until now."""
    finished: bool
    """Whether both directions have ended in order: neither a reset nor the session's end has cut anything off."""


def of_session(engine: Engine, *, heartbeat: bool) -> SessionStatistics:
    """Collect the statistics from the parts of a session."""
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
    """Collect the statistics from a stream's state."""
    incoming, outgoing = state.incoming, state.outgoing
    return StreamStatistics(
        data_received=incoming.received,
        data_sent=state.sent,
        unread=incoming.buffered,
        unsent=state.unsent,
        send_window=max(state.send_window, 0),
        receive_window=incoming.available,
        receive_window_size=incoming.size,
        blocked_on_window=0.0 if outgoing is None else outgoing.blocked_until(now),
        finished=state.phase is Phase.CLOSED,
    )

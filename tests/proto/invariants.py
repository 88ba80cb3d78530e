"""What holds of a connection whatever its peer sends, and however that is cut."""

from muxpy.proto import Event, Phase, StreamState
from tests.frame.wire import DATA, GOAWAY, RST, SYN, WINDOW, WND_INC, Frame

from .side import Side


def check(side: Side, known: list[StreamState], frames: list[Frame], *, may_go_away: bool = False) -> None:
    """What holds whatever was received. `known`: all streams so far; `frames`: all that was written so far.

    `may_go_away`: the application, or ids that are used up, may have made it say GOAWAY without an error.
    """
    core = side.core
    codes = [int.from_bytes(frame.body[4:8], "big") for frame in frames if frame.kind == GOAWAY]
    assert codes.count(0) <= may_go_away
    assert len(codes) - codes.count(0) <= (core.error is not None)
    assert {frame.kind for frame in frames} <= {SYN, RST, DATA, WND_INC, GOAWAY}
    if core.error is not None:
        assert core.error.code in (1, 5)
        assert core.error.reason.isprintable()
        assert any(codes) or core.sending.outbox.control_frames
    limited = [stream for stream in core.streams.values() if not core._table.is_local(stream.id)]
    assert sum(not stream.extension for stream in limited) <= side.config.max_streams
    unread = [stream for stream in known if stream.incoming.buffered]
    assert sum(stream.incoming.buffered for stream in unread) <= WINDOW * len(unread) + side.config.receive_budget
    grown = sum(stream.incoming.size - WINDOW for stream in known)
    assert core.budget.left >= 0
    assert core.budget.left + grown == side.config.receive_budget
    for stream in known:
        check_stream(side, stream)


def check_stream(side: Side, stream: StreamState) -> None:
    """What holds of each stream."""
    window = stream.incoming
    assert 0 <= stream.send_window <= 0x7FFFFFFF
    assert window.available >= 0
    assert WINDOW <= window.size <= side.config.max_window
    assert stream.incoming.buffered == sum(map(len, stream.incoming.chunks or ())) - stream.incoming._offset
    assert stream.incoming.arriving is None
    if not stream.phase.reads and not stream.incoming.buffered:
        assert window.size == WINDOW, "a window that is of no use any more has kept its part of the budget"
    if stream.phase.reads:
        assert window.available + stream.incoming.buffered + window.owed == window.size
    assert (stream.id in side.core.streams) == (stream.phase not in (Phase.CLOSED, Phase.GONE))
    assert not stream.phase.over or not any(stream.advance(event) for event in Event)


def check_same_outcome(whole: Side, known: dict[int, StreamState], parts: Side, seen: dict[int, StreamState]) -> None:
    """Two connections that received the same bytes, cut in different ways, did the same. Streams are by id."""
    assert whole.sent() == parts.sent()
    assert str(whole.core.error) == str(parts.core.error)
    assert whole.core.remote_goaway == parts.core.remote_goaway
    assert list(known) == list(seen)
    for stream_id, stream in known.items():
        other = seen[stream_id]
        assert (stream.phase, stream.reset_code, stream.send_window) == (
            other.phase,
            other.reset_code,
            other.send_window,
        )
        assert whole.take_all(stream) == parts.take_all(other)

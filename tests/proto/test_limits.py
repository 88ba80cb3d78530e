"""Ids, the stream limit, the backlog, extension types, and what bounds memory."""

import pytest

from muxpy import ErrorCode, SessionConfig
from muxpy.proto import Opening, Phase
from muxpy.proto._limits import RECENT_RESETS, RecentResets
from muxpy.proto._window import Budget
from muxpy.proto.muxado._table import StreamTable
from tests.frame import wire
from tests.frame.wire import CANCEL, EXTENSION, REFUSED_STREAM, STREAM_CLOSED

from .side import Side

# ---- ids ----


@pytest.mark.parametrize(("client", "ids"), [(True, [3, 5, 7]), (False, [2, 4, 6])])
def test_ids_begin_at_3_and_2_and_go_up_by_two(client: bool, ids: list[int]) -> None:
    side = Side(client)
    assert [side.core.open(Opening()).id for _ in ids] == ids
    assert side.sent() == b"".join(map(wire.syn, ids))


def test_open_sends_priority_and_type_when_they_are_not_zero(side: Side) -> None:
    side.core.open(Opening(7))
    side.core.open(Opening(0, 9))
    stream = side.core.open(Opening(0x7FFFFFFF, 0xFFFFFFFF), fin=True)
    assert (stream.priority, stream.stream_type) == (0x7FFFFFFF, 0xFFFFFFFF)
    assert side.sent() == (
        wire.syn(side.ours, priority=7)
        + wire.syn(side.ours + 2, stream_type=9)
        + wire.syn(side.ours + 4, priority=0x7FFFFFFF, stream_type=0xFFFFFFFF, fin=True)
    )


def test_priority_and_type_of_the_peers_stream_are_kept(side: Side) -> None:
    changes = side.receive(
        wire.syn(side.theirs, priority=7, stream_type=9),
        wire.syn(side.theirs + 2, priority=0xFFFFFFFF),
        wire.syn(side.theirs + 4),
    )
    assert [(stream.id, stream.priority, stream.stream_type) for stream in changes.opened] == [
        (side.theirs, 7, 9),
        (side.theirs + 2, 0x7FFFFFFF, 0),
        (side.theirs + 4, 0, 0),
    ]
    assert side.sent() == b""


def test_ids_may_be_skipped_and_the_skipped_ones_are_lost(side: Side) -> None:
    side.receive(wire.syn(side.theirs + 100))
    assert list(side.core.streams) == [side.theirs + 100]
    side.receive(wire.data(side.theirs + 50))  # counts as one that was opened, and forgotten
    assert side.sent() == wire.rst(side.theirs + 50, STREAM_CLOSED)
    side.receive(wire.syn(side.theirs + 98))
    assert side.core.error is not None


def test_the_highest_id_is_taken(side: Side) -> None:
    highest = 0x7FFFFFFF if not side.client else 0x7FFFFFFE
    [stream] = side.receive(wire.syn(highest)).opened
    assert stream.id == highest
    assert side.core.error is None


def test_no_stream_can_be_opened_past_the_highest_id(side: Side) -> None:
    side.core._table._next_id = 0x7FFFFFFF if side.client else 0x7FFFFFFE
    assert side.core.can_open
    side.core.open(Opening())
    assert not side.core.can_open


# ---- the stream limit and the backlog ----


def test_a_stream_past_the_limit_is_refused(client: bool) -> None:
    side = Side(client, SessionConfig(max_streams=2))
    ids = side.their_ids()
    first, _ = (side.accept(next(ids)) for _ in range(2))

    refused = next(ids)
    assert side.receive(wire.syn(refused)).opened == []
    assert side.sent() == wire.rst(refused, REFUSED_STREAM)
    assert side.core.error is None
    assert side.core.counters.refused == 1

    side.receive(wire.data(refused, b"crossed the RST"), wire.rst(refused, CANCEL))
    assert side.sent() == b""

    side.receive(wire.rst(first.id, CANCEL))
    side.accept(next(ids))
    assert side.sent() == b""


def test_the_limit_may_change_while_streams_are_open(client: bool) -> None:
    """The backlog's with it: what may be open may wait to be accepted."""
    side = Side(client, SessionConfig(max_streams=2, accept_backlog=2, max_control_frames=16))
    ids = side.their_ids()
    side.receive(*[wire.syn(next(ids)) for _ in range(2)])
    side.core.allow_streams(100)
    opened = side.receive(*[wire.syn(next(ids)) for _ in range(98)]).opened
    assert len(opened) == 98
    assert side.sent() == b""
    refused = next(ids)
    side.receive(wire.syn(refused))
    assert side.sent() == wire.rst(refused, REFUSED_STREAM)

    for stream in opened:  # all end at once: the bound of control frames has grown as well
        side.core.finish(stream)
    assert side.core.error is None

    side.core.allow_streams(1)  # those that are open stay
    assert len(side.core.streams) == 100
    refused = next(ids)
    side.receive(wire.syn(refused))
    assert wire.rst(refused, REFUSED_STREAM) in side.sent()


def test_our_own_streams_do_not_count_against_the_peers_limit(client: bool) -> None:
    side = Side(client, SessionConfig(max_streams=1))
    for _ in range(5):
        side.open()
    side.accept()
    assert side.sent() == b""


def test_a_refused_id_counts_as_seen(client: bool) -> None:
    side = Side(client, SessionConfig(max_streams=0))
    side.receive(wire.syn(side.theirs))
    side.sent()
    side.receive(wire.syn(side.theirs))
    assert side.core.error is not None
    assert side.core.error.code is ErrorCode.PROTOCOL_ERROR


def test_a_stream_past_the_accept_backlog_is_refused(client: bool) -> None:
    side = Side(client, SessionConfig(accept_backlog=2))
    ids = side.their_ids()
    first, second = side.receive(wire.syn(next(ids)), wire.syn(next(ids))).opened
    refused = next(ids)
    side.receive(wire.syn(refused))
    assert side.sent() == wire.rst(refused, REFUSED_STREAM)

    side.core.accepted(first)
    [third] = side.receive(wire.syn(next(ids))).opened
    assert side.sent() == b""
    assert list(side.core.streams) == [first.id, second.id, third.id]


def test_a_reset_stream_holds_its_place_in_the_backlog_until_the_application_saw_it(client: bool) -> None:
    """Or a peer that opens and resets in a hurry could queue streams without end."""
    side = Side(client, SessionConfig(accept_backlog=1))
    [stream] = side.receive(wire.syn(side.theirs), wire.rst(side.theirs, CANCEL)).opened
    side.receive(wire.syn(side.theirs + 2))
    assert side.sent() == wire.rst(side.theirs + 2, REFUSED_STREAM)
    side.core.accepted(stream)
    side.accept(side.theirs + 4)
    assert side.sent() == b""


# ---- extensions ----


@pytest.mark.parametrize("stream_type", [EXTENSION, EXTENSION + 1, 0xFFFFFFFF])
def test_a_stream_of_an_unregistered_extension_is_closed(side: Side, stream_type: int) -> None:
    assert side.receive(wire.syn(side.theirs, stream_type=stream_type)).opened == []
    assert side.sent() == wire.rst(side.theirs, STREAM_CLOSED)
    assert side.core.streams == {}
    assert side.core.error is None


@pytest.mark.parametrize("stream_type", [EXTENSION, 0xFFFFFFFF])
def test_a_stream_of_a_registered_extension_is_taken(client: bool, stream_type: int) -> None:
    side = Side(client, extensions=(stream_type,))
    [stream] = side.receive(wire.syn(side.theirs, priority=0x7FFFFFFF, stream_type=stream_type)).opened
    assert (stream.stream_type, stream.extension) == (stream_type, True)
    assert side.sent() == b""
    side.receive(wire.syn(side.theirs + 2, stream_type=EXTENSION + 1))
    assert side.sent() == wire.rst(side.theirs + 2, STREAM_CLOSED)


def test_the_type_below_the_extensions_is_an_ordinary_one(side: Side) -> None:
    [stream] = side.receive(wire.syn(side.theirs, stream_type=EXTENSION - 1)).opened
    assert not stream.extension
    assert side.sent() == b""


def test_a_full_accept_backlog_does_not_refuse_an_extension(client: bool) -> None:
    """It never waits to be accepted. The Go peer ends the session if its heartbeat stream is reset."""
    side = Side(client, SessionConfig(accept_backlog=1), extensions=(EXTENSION,))
    side.receive(wire.syn(side.theirs))
    changes = side.receive(wire.syn(side.theirs + 2, stream_type=EXTENSION))
    assert side.sent() == b""
    assert [stream.id for stream in changes.opened] == [side.theirs + 2]


# ---- bounds ----


def test_resets_are_remembered_within_a_bound(side: Side) -> None:
    ids = side.their_ids()
    streams = []
    for _ in range(RECENT_RESETS + 10):
        streams.append(side.accept(next(ids)))
        side.core.reset(streams[-1], CANCEL)
    side.sent()
    for stream in streams[10:]:
        side.receive(wire.data(stream.id, b"late"))
    assert side.sent() == b""
    side.receive(wire.data(streams[9].id, b"too late"))
    assert side.sent() == wire.rst(streams[9].id, STREAM_CLOSED)
    assert side.core.error is None


def test_the_oldest_reset_is_forgotten_first() -> None:
    resets = RecentResets()
    for stream_id in range(3 * RECENT_RESETS):
        resets.add(stream_id)
        resets.add(stream_id)
        assert len(resets) <= RECENT_RESETS
    assert 2 * RECENT_RESETS in resets
    assert 2 * RECENT_RESETS - 1 not in resets


def test_a_peer_that_does_not_read_its_answers_ends_the_session(client: bool) -> None:
    side = Side(client, SessionConfig(max_control_frames=16, max_streams=0))
    ids = side.their_ids()
    last = 0
    for _ in range(17):
        side.receive(wire.syn(last := next(ids)))
    assert side.core.error is None  # it may read them yet: the writer had no turn since the last
    assert side.core.sending.outbox.control_frames == 17
    side.receive(wire.syn(next(ids)))
    error = side.core.error
    assert error is not None
    assert error.code is ErrorCode.PROTOCOL_ERROR
    assert "more than 16 control frames wait" in error.reason
    assert side.sent().endswith(wire.goaway(last, error.code, error.reason.encode()))


def test_a_peer_that_reads_its_answers_may_go_on(client: bool) -> None:
    side = Side(client, SessionConfig(max_control_frames=16, max_streams=0))
    ids = side.their_ids()
    for _ in range(100):
        side.receive(wire.syn(next(ids)))
        assert len(side.frames()) == 1
        assert side.core.sending.outbox.control_frames == 0
    assert side.core.error is None


def test_window_updates_that_wait_count_once_a_stream(client: bool) -> None:
    side = Side(client, SessionConfig(max_control_frames=16, max_streams=8))
    ids = side.their_ids()
    streams = [*(side.accept(next(ids)) for _ in range(8)), *(side.open() for _ in range(9))]
    for _ in range(5):
        for stream in streams[:16]:
            side.receive(*(wire.data(stream.id, bytes(16383)) for _ in range(3)))
            side.take_all(stream)
    assert side.core.sending.outbox.control_frames == 16
    assert side.core.error is None
    side.receive(*(wire.data(streams[16].id, bytes(16383)) for _ in range(3)))
    side.take_all(streams[16])
    side.receive(wire.data(streams[0].id))
    assert side.core.error is not None


def test_single_byte_frames_do_not_cost_an_object_each(side: Side) -> None:
    stream = side.accept()
    frame = wire.data(stream.id, b"x")
    for _ in range(65536):
        side.receive(frame)
    assert stream.incoming.buffered == 65536
    assert stream.incoming.chunks is not None
    assert len(stream.incoming.chunks) <= 32
    assert side.take_all(stream) == b"x" * 65536
    assert stream.incoming.chunks is None


def test_what_was_received_is_let_go_of(side: Side) -> None:
    """The shell reads into the same buffer again."""
    stream = side.accept()
    buffer = bytearray(wire.data(stream.id, b"hello") + wire.data(stream.id, b"world")[:-2])
    side.core.receive(buffer)
    buffer.clear()  # raises BufferError while a view of it is alive
    assert side.take_all(stream) == b"hellowor"


def test_counters_count_what_passes(client: bool) -> None:
    side = Side(client, SessionConfig(max_streams=1))
    side.open()
    stream = side.accept()
    side.receive(wire.data(stream.id, b"hello")[:10])
    side.receive(wire.data(stream.id, b"hello")[10:], wire.syn(side.theirs + 2), wire.wnd_inc(stream.id, 1))
    side.submit(stream, b"hi")
    side.core.finish(side.core.open(Opening()))
    side.sent()
    counters = side.core.counters
    assert (counters.opened, counters.accepted, counters.refused) == (2, 1, 1)
    assert (counters.frames_received, counters.data_received) == (4, 5)
    assert counters.frames_sent == 5  # two SYNs, a refusal, DATA, FIN


def test_a_stream_of_the_peer_begins_open(side: Side) -> None:
    assert side.accept().phase is Phase.OPEN


def test_forgetting_a_stream_twice_frees_one_place() -> None:
    config = SessionConfig(max_streams=2)
    table = StreamTable(config, Budget(config), client=True)
    first, _ = table.add_remote(2, 0, 0), table.add_remote(4, 0, 0)
    assert table.places(extension=False).full()
    table.forget(first)
    table.forget(first)
    table.add_remote(6, 0, 0)
    assert table.places(extension=False).full()

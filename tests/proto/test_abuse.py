"""What a peer may do only so often: resets of its own, and those that it provokes. Queues that it does not read."""

from __future__ import annotations

from itertools import islice

import pytest

from muxpy import ProtocolError, SessionConfig
from muxpy.proto import Opening
from muxpy.proto._limits import RECENT_RESETS, TokenBucket
from tests.frame import wire
from tests.frame.wire import CANCEL, EXTENSION, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, WND_INC

from .side import Side

FEW = SessionConfig(reset_burst=10, reset_rate=5.0, max_streams=20)

# ---- the bucket ----


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = 0.0
    bucket = TokenBucket(10, 5.0, lambda: now, "too fast")
    for _ in range(10):
        bucket.spend()
    with pytest.raises(ProtocolError, match="too fast: more than 10 together and 5 a second"):
        bucket.spend()
    now = 1.0
    for _ in range(5):
        bucket.spend()
    with pytest.raises(ProtocolError):
        bucket.spend()


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    now = 0.0
    bucket = TokenBucket(3, 5.0, lambda: now, "too fast")
    now = 1000.0
    for _ in range(3):
        bucket.spend()
    with pytest.raises(ProtocolError):
        bucket.spend()


# ---- resets of the peer ----


def rapid_reset(side: Side, count: int) -> list[bytes]:
    return [wire.syn(stream_id) + wire.rst(stream_id, CANCEL) for stream_id in islice(side.their_ids(), count)]


def test_a_peer_may_reset_its_own_streams_only_so_often(side: Side) -> None:
    side = Side(side.client, FEW)
    side.receive(*rapid_reset(side, 10))
    assert side.core.error is None
    side.receive(*rapid_reset(side, 12)[10:])
    assert side.core.error is not None
    assert "the peer resets its own streams too fast" in side.core.error.reason
    assert side.frames()[-1].kind == wire.GOAWAY


def test_resets_are_forgiven_with_time(side: Side) -> None:
    side = Side(side.client, FEW)
    for number, pair in enumerate(rapid_reset(side, 200)):
        side.now = number * 0.2
        for stream in side.receive(pair).opened:
            side.core.accepted(stream)
    assert side.core.error is None


def test_resets_of_streams_that_this_side_opened_are_the_peers_right(side: Side) -> None:
    side = Side(side.client, FEW)
    for _ in range(100):
        side.receive(wire.rst(side.open().id, REFUSED_STREAM))
    assert side.core.error is None


def test_frames_that_are_empty_for_nothing_count_as_well(side: Side) -> None:
    side = Side(side.client, FEW)
    stream = side.accept()
    side.receive(*[wire.data(stream.id)] * 10)
    assert side.core.error is None
    side.receive(wire.data(stream.id))
    assert side.core.error is not None


# ---- resets that the peer provokes ----


@pytest.mark.parametrize(
    "provocation",
    [
        pytest.param(lambda n: wire.syn(n) + wire.wnd_inc(n, 0), id="WND_INC_of_0"),
        pytest.param(lambda n: wire.syn(n, fin=True) + wire.data(n, b"x"), id="DATA_after_FIN"),
        pytest.param(lambda n: wire.syn(n, stream_type=EXTENSION + 3), id="unknown_extension"),
    ],
)
def test_a_peer_may_provoke_resets_only_so_often(side: Side, provocation: object) -> None:
    assert callable(provocation)
    side = Side(side.client, FEW)
    ids = side.their_ids()
    side.receive(*[provocation(stream_id) for stream_id in islice(ids, 10)])
    assert side.core.error is None
    side.receive(provocation(next(ids)))
    assert side.core.error is not None
    assert "the peer makes this side reset streams too fast" in side.core.error.reason


def test_opening_more_than_is_allowed_does_not_count(side: Side) -> None:
    """It starts no work, and a peer cannot know what is allowed."""
    side = Side(side.client, FEW)
    ids = side.their_ids()
    side.receive(*[wire.syn(stream_id) for stream_id in islice(ids, FEW.max_streams)])
    for stream_id in islice(ids, 500):
        side.receive(wire.syn(stream_id), wire.rst(stream_id, CANCEL))
        side.sent()
    assert side.core.error is None
    assert side.core.counters.refused == 500


def test_resets_for_streams_that_are_over_do_not_count(side: Side) -> None:
    """The Go peer sends one for each frame that meets a stream which it has closed."""
    side = Side(side.client, FEW)
    stream = side.accept(fin=True)
    side.core.finish(stream)
    side.receive(*[wire.rst(stream.id, STREAM_CLOSED)] * 500)
    assert side.core.error is None


def test_data_for_streams_that_this_side_reset_does_not_count(side: Side) -> None:
    """More of them than are remembered, with data on its way to all."""
    side = Side(side.client, FEW)
    streams = [side.core.open(Opening()) for _ in range(2 * RECENT_RESETS)]
    for stream in streams:
        side.core.reset(stream, CANCEL)
    for _ in range(5):
        side.receive(*[wire.data(stream.id, b"on its way") for stream in streams])
        side.sent()
    assert side.core.error is None


def test_data_for_streams_that_the_application_closed_is_not_the_peers_fault(side: Side) -> None:
    side = Side(side.client, FEW)
    for stream_id in islice(side.their_ids(), 100):
        side.core.close(side.accept(stream_id))
        side.receive(wire.data(stream_id, b"still sending"))
        assert [frame.number for frame in side.frames() if frame.kind == wire.RST] == [CANCEL]
    assert side.core.error is None


# ---- what waits to be written ----


def test_resets_for_one_stream_are_written_once(side: Side) -> None:
    ids = list(islice(side.their_ids(), 1100))  # more than are remembered
    for stream_id in ids:
        stream = side.accept(stream_id, fin=True)
        side.core.finish(stream)
    side.sent()
    for _ in range(3):
        side.receive(*[wire.data(stream_id, b"x") for stream_id in ids])
    resets = [frame.stream_id for frame in side.frames()]
    assert resets == ids
    side.receive(wire.data(ids[0], b"x"))
    assert [frame.stream_id for frame in side.frames()] == [ids[0]]


def test_window_updates_for_one_stream_are_merged_and_a_reset_takes_them_back(side: Side) -> None:
    stream = side.accept()
    for _ in range(2):
        side.receive(*[wire.data(stream.id, bytes(16_000))] * 3)
        side.take_all(stream)
    [update] = side.frames()
    assert (update.kind, update.number) == (WND_INC, 96_000)
    side.receive(*[wire.data(stream.id, bytes(16_000))] * 3)
    side.take_all(stream)
    side.core.reset(stream, CANCEL)
    assert side.sent() == wire.rst(stream.id, CANCEL)


def test_the_queue_has_a_bound_in_bytes(side: Side) -> None:
    config = SessionConfig(max_control_bytes=1200, max_streams=1)
    side = Side(side.client, config)
    ids = side.their_ids()
    side.accept(next(ids))
    side.receive(*[wire.syn(stream_id) for stream_id in islice(ids, 100)])
    side.receive(wire.wnd_inc(side.theirs, 1))
    assert side.core.error is None
    side.receive(wire.syn(next(ids)))
    side.receive(wire.wnd_inc(side.theirs, 1))
    assert side.core.error is not None
    assert "more than 1200 bytes of control frames wait" in side.core.error.reason
    assert side.core.error.code == PROTOCOL_ERROR


def test_the_queue_has_room_for_the_end_of_all_streams(side: Side) -> None:
    """Their handlers may all return in one turn of the scheduler."""
    side = Side(side.client, SessionConfig(max_streams=500, max_control_frames=16, max_control_bytes=1024))
    streams = [side.accept(stream_id) for stream_id in islice(side.their_ids(), 500)]
    side.receive(*(wire.data(stream.id, b"unread") for stream in streams))
    for stream in streams:
        side.core.close(stream)
    side.receive(wire.wnd_inc(streams[0].id, 1))
    assert side.core.error is None
    assert len(side.frames()) == 1000  # a FIN each, and window for what was not read


# ---- ids ----


def test_the_last_id_is_followed_by_goaway(side: Side) -> None:
    side.core._table._next_id = 0x7FFFFFFF - (not side.client)
    stream = side.core.open(Opening())
    assert not side.core.can_open
    assert side.core.used_up
    assert side.frames()[-1] == wire.Frame(wire.GOAWAY, wire.EXACT, 0, wire.u32(0, 0) + b"stream ids are used up")
    side.receive(wire.data(stream.id, b"it works"))
    assert side.take_all(stream) == b"it works"


@pytest.mark.parametrize(("client", "who"), [(True, "client"), (False, "server")])
def test_two_of_the_same_role_are_told_so(client: bool, who: str) -> None:
    side = Side(client)
    side.receive(wire.syn(side.ours))
    assert side.core.error is not None
    assert f"are both sides the {who}?" in side.core.error.reason


def test_a_second_session_on_the_same_connection_is_told_so(side: Side) -> None:
    side.receive(wire.syn(side.theirs), wire.syn(side.theirs + 2))
    side.receive(wire.syn(side.theirs))
    assert side.core.error is not None
    assert "do two sessions write to one connection?" in side.core.error.reason

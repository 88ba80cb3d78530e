"""What a peer can make a connection hold or do is bounded, and what a stream took of the budget comes back."""

from collections.abc import Callable, Iterator, ValuesView

import pytest

from muxpy import ErrorCode, SessionConfig
from muxpy.proto import Batch, Opening, Phase, StreamState
from muxpy.proto._limits import MAX_CLOSING, RECENT_RESETS
from tests.frame import wire
from tests.frame.wire import CANCEL, STREAM_CLOSED, WINDOW

from .side import Side

GROWN = 1 << 20


def grow(side: Side, stream: StreamState) -> None:
    """As if the stream's window had grown by a MiB."""
    stream.incoming.size += GROWN
    stream.incoming.available += GROWN
    side.core.budget.left -= GROWN


def refill(side: Side, stream: StreamState) -> None:
    """The peer uses up the stream's window, in one read."""
    left = stream.incoming.available
    sizes = [16_000] * (left // 16_000) + [left % 16_000]
    side.receive(*(wire.data(stream.id, bytes(size)) for size in sizes if size))


# ---- answers ----


def test_answers_for_forgotten_streams_of_our_own_count(client: bool) -> None:
    side = Side(client, SessionConfig(max_control_frames=100, max_streams=50))
    ids = []
    for _ in range(RECENT_RESETS + 10):
        stream = side.open(fin=True)
        side.receive(wire.data(stream.id, fin=True))
        assert stream.phase.over
        ids.append(stream.id)
    # More of them than are remembered as reset: each frame is answered by an RST, round and round.
    for first in range(0, len(ids), 10):
        side.receive(*(wire.data(stream_id) for stream_id in ids[first : first + 10]))
        if side.core.error is not None:
            break
    assert side.core.error is not None
    assert side.core.error.code is ErrorCode.PROTOCOL_ERROR
    assert "control frames wait" in side.core.error.reason
    assert side.core.sending.outbox.control_frames <= 100 + 10 + 1
    assert {frame.number for frame in side.frames()[:-1]} == {STREAM_CLOSED}


def test_a_burst_of_answers_in_one_read_may_be_written_before_the_next(client: bool) -> None:
    side = Side(client, SessionConfig(max_control_frames=16, max_streams=0))
    ids = side.their_ids()
    for _ in range(3):
        side.receive(*(wire.syn(next(ids)) for _ in range(1000)))
        assert side.core.error is None
        assert len(side.frames()) == 1000
    side.receive(*(wire.syn(next(ids)) for _ in range(1000)))
    side.receive(wire.syn(next(ids)))
    assert side.core.error is not None


# ---- the receive budget ----


def reset(side: Side, stream: StreamState) -> None:
    side.core.reset(stream, ErrorCode.CANCEL)


def close(side: Side, stream: StreamState) -> None:
    side.core.close(stream)


@pytest.mark.parametrize("end", [reset, close])
def test_an_ended_stream_with_unread_data_gives_its_budget_back(
    end: Callable[[Side, StreamState], None], side: Side
) -> None:
    stream = side.open(fin=True)
    grow(side, stream)
    side.receive(wire.data(stream.id, bytes(1000), fin=True))
    assert stream.phase.over
    assert side.core.budget.left == side.config.receive_budget - GROWN  # until it was read
    side.sent()
    end(side, stream)
    assert side.core.budget.left == side.config.receive_budget
    assert stream.incoming.buffered == 0
    assert side.sent() == b""
    end(side, stream)
    assert side.core.budget.left == side.config.receive_budget


def test_a_stream_that_we_closed_and_the_peer_did_not_gives_its_budget_back(side: Side) -> None:
    stream = side.open()
    grow(side, stream)
    side.core.close(stream)
    assert stream.phase is Phase.CLOSING
    assert side.core.budget.left == side.config.receive_budget
    side.receive(wire.data(stream.id, fin=True))
    assert side.core.budget.left == side.config.receive_budget


def test_the_peers_fin_gives_the_budget_back_if_nothing_is_unread(side: Side) -> None:
    stream = side.open()
    grow(side, stream)
    side.receive(wire.data(stream.id, fin=True))
    assert stream.phase is Phase.REMOTE_DONE
    assert side.core.budget.left == side.config.receive_budget


def test_the_peers_fin_gives_the_budget_back_once_all_is_read(side: Side) -> None:
    stream = side.open()
    grow(side, stream)
    side.receive(wire.data(stream.id, b"last words", fin=True))
    assert side.core.budget.left == side.config.receive_budget - GROWN
    assert side.take(stream, 4) == b"last"
    assert side.core.budget.left == side.config.receive_budget - GROWN
    side.take_all(stream)
    assert side.core.budget.left == side.config.receive_budget


# ---- memory for unread data ----


@pytest.mark.parametrize("piece", [10, 100, 1000, 20_000])
def test_what_was_read_of_a_chunk_is_not_held_for_long(piece: int, client: bool) -> None:
    side = Side(client, SessionConfig(receive_budget=0))
    stream = side.open()
    refill(side, stream)
    most = taken = 0
    while taken < 2 * WINDOW:
        left = WINDOW - taken % WINDOW
        # To the last byte but one of a window, which is when most of the chunk has been read.
        taken += len(side.take(stream, min(piece, left - 1) or 1))
        refill(side, stream)
        assert stream.incoming.chunks is not None
        most = max(most, sum(map(len, stream.incoming.chunks)))
    assert side.core.error is None
    assert most <= 1.5 * WINDOW


def test_a_chunk_read_but_for_its_last_byte_is_not_held_beside_a_full_window(client: bool) -> None:
    side = Side(client, SessionConfig(receive_budget=0))
    stream = side.open()
    refill(side, stream)
    taken = 0
    while taken < WINDOW - 1:
        taken += len(side.take(stream, min(100, WINDOW - 1 - taken)))
    refill(side, stream)
    assert stream.incoming.chunks is not None
    assert stream.incoming.buffered <= WINDOW
    assert sum(map(len, stream.incoming.chunks)) < 1.5 * WINDOW


# ---- streams that the peer never ends ----


def test_streams_that_the_peer_never_ends_are_given_up_past_a_bound(client: bool) -> None:
    side = Side(client)
    streams = [side.open() for _ in range(MAX_CLOSING + 2)]
    for stream in streams[:MAX_CLOSING]:
        side.core.close(stream)
    assert all(not frame.number for frame in side.frames())  # FINs
    for oldest, stream in zip(streams, streams[MAX_CLOSING:], strict=False):
        side.core.close(stream)
        assert side.sent() == wire.rst(oldest.id, CANCEL) + wire.data(stream.id, fin=True)
        assert oldest.phase.over
    assert len(side.core.streams) == MAX_CLOSING
    assert side.core.open_streams == 0
    # The peer's late frames for one that was given up cross the RST.
    side.receive(wire.data(streams[0].id, b"late"))
    assert side.sent() == b""
    assert side.core.error is None


def test_as_many_as_max_streams_are_waited_for_if_that_is_more(client: bool) -> None:
    side = Side(client, SessionConfig(max_streams=MAX_CLOSING + 100))
    for _ in range(MAX_CLOSING + 100):
        side.core.close(side.core.open(Opening()))
    assert len(side.core.streams) == MAX_CLOSING + 100
    side.core.close(side.core.open(Opening()))
    assert len(side.core.streams) == MAX_CLOSING + 100


def test_streams_that_the_peer_does_end_make_room(client: bool) -> None:
    side = Side(client)
    for _ in range(MAX_CLOSING + 10):
        stream = side.open()
        side.core.close(stream)
        side.receive(wire.data(stream.id, fin=True))
        assert not any(frame.kind == wire.RST for frame in side.frames())
    assert not side.core.streams


# ---- work ----


class CountedDict(dict[int, StreamState]):
    """Counts the scans of its values."""

    scans = 0

    def values(self) -> ValuesView[StreamState]:  # type: ignore[override]
        self.scans += 1
        return super().values()


def test_many_goaways_do_not_go_through_all_streams_each_time(side: Side) -> None:
    streams = [side.open() for _ in range(20)]
    theirs = side.accept()
    live = CountedDict(side.core.streams)
    side.core.streams = side.core._table.live = live
    last_ids = range(streams[15].id, streams[4].id - 1, -1)
    changes = side.receive(*map(wire.goaway, last_ids), wire.goaway(streams[18].id))
    assert live.scans == 0
    assert sorted(changes.reset, key=lambda stream: stream.id) == streams[5:]
    assert all(stream.retryable for stream in changes.reset)
    assert list(live.values()) == [*streams[:5], theirs]
    assert side.core.remote_goaway is not None
    assert side.core.remote_goaway.last_id == streams[4].id


class CountedList(list[bytes | bytearray | memoryview]):
    """Counts the passes over it."""

    passes = 0

    def __iter__(self) -> Iterator[bytes | bytearray | memoryview]:
        self.passes += 1
        return super().__iter__()


def test_a_batch_is_copied_once_however_many_senders_are_cancelled() -> None:
    buffer = bytearray(b"of a sender")
    chunks = CountedList([b"header", memoryview(buffer)])
    batch = Batch(chunks, [], 17)
    for _ in range(100):
        batch.own()
    assert chunks.passes == 1
    buffer[:] = b"overwritten"
    assert b"".join(batch.chunks) == b"headerof a sender"

"""What has arrived and was not read: pieces in, bytes out."""

from itertools import accumulate, pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from muxpy.proto import StreamState
from muxpy.proto._incoming import MERGE_BELOW
from tests.helpers.content import COUNTED


def stream_with(*batches: list[bytes]) -> StreamState:
    stream = StreamState(3, 0, 0, send_window=0)
    for batch in batches:
        arrive(stream, batch)
    return stream


def arrive(stream: StreamState, batch: list[bytes]) -> None:
    stream.incoming.arriving = [memoryview(piece) for piece in batch]
    stream.incoming.buffered += sum(map(len, batch))
    stream.incoming.settle()


def test_take_without_a_limit_gives_what_lies_together() -> None:
    stream = stream_with([b"one ", b"batch"])
    assert stream.incoming.read(None) == b"one batch"
    assert stream.incoming.read(None) == b""
    assert (stream.incoming.buffered, stream.incoming.chunks) == (0, None)


def test_take_gives_at_most_max_bytes_and_goes_on_there() -> None:
    stream = stream_with([b"hello"])
    assert [stream.incoming.read(2), stream.incoming.read(2), stream.incoming.read(2), stream.incoming.read(2)] == [
        b"he",
        b"ll",
        b"o",
        b"",
    ]


def test_a_whole_chunk_is_given_without_a_copy() -> None:
    stream = stream_with([bytes(5000)])
    assert stream.incoming.chunks is not None
    chunk = stream.incoming.chunks[0]
    assert stream.incoming.read(5000) is chunk


def test_small_chunks_are_merged_and_large_ones_are_not() -> None:
    stream = stream_with([b"a"], [b"b"], [bytes(MERGE_BELOW)], [b"c"])
    assert stream.incoming.chunks is not None
    assert [len(chunk) for chunk in stream.incoming.chunks] == [2, MERGE_BELOW, 1]


def test_a_chunk_that_is_half_read_still_merges() -> None:
    stream = stream_with([b"hello"])
    assert stream.incoming.read(2) == b"he"
    arrive(stream, [b" world"])
    assert stream.incoming.read(None) == b"llo world"


def test_settling_nothing_changes_nothing() -> None:
    stream = stream_with()
    stream.incoming.settle()
    assert (stream.incoming.chunks, stream.incoming.read(None)) == (None, b"")


def test_drop_unread_says_how_much_it_was() -> None:
    stream = stream_with([bytes(5000)], [bytes(7)])
    stream.incoming.read(1)
    assert stream.incoming.drop() == 5006
    assert stream.incoming.drop() == 0
    assert stream.incoming.read(None) == b""
    arrive(stream, [b"fresh"])
    assert stream.incoming.read(None) == b"fresh"


SIZES = st.sampled_from([1, 2, 4, 8, 3000, 5000])
"""Few, so that what was read of a chunk often is as much as what came after it."""


@settings(deadline=None, max_examples=300)
@example([[5000], 4, [4], None])
@given(st.lists(st.one_of(st.lists(SIZES, min_size=1, max_size=3), st.none(), SIZES), max_size=30))
def test_bytes_come_out_as_they_went_in(steps: list[list[int] | int | None]) -> None:
    stream = StreamState(3, 0, 0, send_window=0)
    arrived = taken = 0
    for step in steps:
        if isinstance(step, list):
            edges = list(accumulate(step, initial=arrived))
            arrive(stream, [COUNTED[start:stop] for start, stop in pairwise(edges)])
            arrived = edges[-1]
        else:
            piece = stream.incoming.read(step)
            assert step is None or len(piece) <= step
            assert piece or not stream.incoming.buffered
            assert piece == COUNTED[taken : taken + len(piece)]
            taken += len(piece)
        assert stream.incoming.buffered == arrived - taken
    while piece := stream.incoming.read(None):
        assert piece == COUNTED[taken : taken + len(piece)]
        taken += len(piece)
    assert taken == arrived

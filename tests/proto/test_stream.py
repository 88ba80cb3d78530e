"""What has arrived and was not read: pieces in, bytes out."""

from itertools import accumulate, pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from muxpy.proto import StreamState
from muxpy.proto._stream import MERGE_BELOW


def stream_with(*batches: list[bytes]) -> StreamState:
    stream = StreamState(3, 0, 0, extension=False)
    for batch in batches:
        arrive(stream, batch)
    return stream


def arrive(stream: StreamState, batch: list[bytes]) -> None:
    stream.arriving = [memoryview(piece) for piece in batch]
    stream.buffered += sum(map(len, batch))
    stream.settle()


def test_take_without_a_limit_gives_what_lies_together() -> None:
    stream = stream_with([b"one ", b"batch"])
    assert stream.take(None) == b"one batch"
    assert stream.take(None) == b""
    assert (stream.buffered, stream.chunks) == (0, None)


def test_take_gives_at_most_max_bytes_and_goes_on_there() -> None:
    stream = stream_with([b"hello"])
    assert [stream.take(2), stream.take(2), stream.take(2), stream.take(2)] == [b"he", b"ll", b"o", b""]


def test_a_whole_chunk_is_given_without_a_copy() -> None:
    stream = stream_with([bytes(5000)])
    assert stream.chunks is not None
    chunk = stream.chunks[0]
    assert stream.take(5000) is chunk


def test_small_chunks_are_merged_and_large_ones_are_not() -> None:
    stream = stream_with([b"a"], [b"b"], [bytes(MERGE_BELOW)], [b"c"])
    assert stream.chunks is not None
    assert [len(chunk) for chunk in stream.chunks] == [2, MERGE_BELOW, 1]


def test_a_chunk_that_is_half_read_still_merges() -> None:
    stream = stream_with([b"hello"])
    assert stream.take(2) == b"he"
    arrive(stream, [b" world"])
    assert stream.take(None) == b"llo world"


def test_settling_nothing_changes_nothing() -> None:
    stream = stream_with()
    stream.settle()
    assert (stream.chunks, stream.take(None)) == (None, b"")


def test_drop_unread_says_how_much_it_was() -> None:
    stream = stream_with([bytes(5000)], [bytes(7)])
    stream.take(1)
    assert stream.drop_unread() == 5006
    assert stream.drop_unread() == 0
    assert stream.take(None) == b""
    arrive(stream, [b"fresh"])
    assert stream.take(None) == b"fresh"


SIZES = st.sampled_from([1, 2, 4, 8, 3000, 5000])
"""Few, so that what was read of a chunk often is as much as what came after it."""


@settings(deadline=None, max_examples=300)
@example([[5000], 4, [4], None])
@given(st.lists(st.one_of(st.lists(SIZES, min_size=1, max_size=3), st.none(), SIZES), max_size=30))
def test_bytes_come_out_as_they_went_in(steps: list[list[int] | int | None]) -> None:
    stream = StreamState(3, 0, 0, extension=False)
    source = bytes(range(251)) * 2000
    arrived = taken = 0
    for step in steps:
        if isinstance(step, list):
            edges = list(accumulate(step, initial=arrived))
            arrive(stream, [source[start:stop] for start, stop in pairwise(edges)])
            arrived = edges[-1]
        else:
            piece = stream.take(step)
            assert step is None or len(piece) <= step
            assert piece or not stream.buffered
            assert piece == source[taken : taken + len(piece)]
            taken += len(piece)
        assert stream.buffered == arrived - taken
    while piece := stream.take(None):
        assert piece == source[taken : taken + len(piece)]
        taken += len(piece)
    assert taken == arrived

"""Data of one stream and nothing else has a way of its own, `receive_lone`: what comes of it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy import SessionConfig
from muxpy.proto import Opening
from tests.frame import wire
from tests.frame.wire import EXTENSION, WINDOW

from .invariants import check_same_outcome
from .side import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import Changes, StreamState


@pytest.fixture(params=[True, False], ids=["client", "server"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


def settled(side: Side) -> StreamState:
    """A stream of the peer, on a connection that has had a read after its first frame."""
    stream = side.accept()
    side.receive(wire.wnd_inc(stream.id, 1))
    return stream


def test_data_alone_is_kept_and_counted(side: Side) -> None:
    stream = settled(side)
    before = side.core.counters.frames_received
    assert side.core.receive_lone(wire.data(stream.id, b"one"), 1.0) is stream
    assert side.take_all(stream) == b"one"
    assert side.core.receive_lone(memoryview(bytearray(wire.data(stream.id, bytes(16383)))), 2.0) is stream
    assert side.take_all(stream) == bytes(16383)
    assert side.core.counters.frames_received == before + 2
    assert side.core.counters.data_received == 3 + 16383
    assert stream.incoming.available == WINDOW - 3 - 16383


def test_it_is_a_copy_of_the_read_buffer(side: Side) -> None:
    stream = settled(side)
    buffer = bytearray(wire.data(stream.id, b"one"))
    assert side.core.receive_lone(memoryview(buffer), 1.0) is stream
    buffer[:] = bytes(len(buffer))
    assert side.take_all(stream) == b"one"


def beside_unread(side: Side, stream: StreamState) -> None:
    side.receive(wire.data(stream.id, b"unread"))


def read_directly(side: Side, stream: StreamState) -> None:
    stream.incoming.direct = True


def mid_header(side: Side, stream: StreamState) -> None:
    side.receive(wire.data(stream.id, b"half")[:5])


def mid_payload(side: Side, stream: StreamState) -> None:
    side.receive(wire.data(stream.id, b"half")[:9])
    side.take_all(stream)


def answer_waits(side: Side, stream: StreamState) -> None:
    side.receive(wire.data(stream.id + 100, b""))


def window_waits(side: Side, stream: StreamState) -> None:
    side.receive(wire.data(stream.id, bytes(16383)), wire.data(stream.id, bytes(16383)), wire.data(stream.id, bytes(2)))
    side.take_all(stream)


def ended(side: Side, stream: StreamState) -> None:
    side.receive(wire.data(stream.id, b"", fin=True))


def closed(side: Side, stream: StreamState) -> None:
    side.core.close(stream)


def broken(side: Side, stream: StreamState) -> None:
    side.receive(wire.frame(9, 0, b""))


PREPARED = [beside_unread, read_directly, mid_header, mid_payload, answer_waits, window_waits, ended, closed, broken]


@pytest.mark.parametrize("prepare", PREPARED, ids=lambda prepare: prepare.__name__)
def test_where_anything_is_out_of_the_ordinary_nothing_is_done(
    prepare: Callable[[Side, StreamState], None], side: Side
) -> None:
    stream = settled(side)
    prepare(side, stream)
    before = side.core.counters.data_received, stream.incoming.available, stream.incoming.buffered
    assert side.core.receive_lone(wire.data(stream.id, b"one"), 1.0) is None
    assert (side.core.counters.data_received, stream.incoming.available, stream.incoming.buffered) == before


OTHER: list[Callable[[int], bytes]] = [
    lambda _: b"",
    lambda i: wire.data(i, b"one")[:-1],
    lambda i: wire.data(i, b"one")[:4],
    lambda i: wire.data(i, b""),
    lambda i: wire.data(i, b"one", fin=True),
    lambda i: wire.data(i, b"one") + b"\0",
    lambda i: wire.data(i, b"one") * 2,
    lambda i: wire.data(i + 2, b"one"),
    lambda i: wire.wnd_inc(i, 1),
    lambda i: wire.rst(i, 1),
]


@pytest.mark.parametrize("number", range(len(OTHER)))
def test_what_is_anything_else_is_left_to_the_rules(number: int, side: Side) -> None:
    stream = settled(side)
    assert side.core.receive_lone(OTHER[number](stream.id), 1.0) is None
    assert side.core.receive_lone(wire.data(stream.id, b"one"), 1.0) is stream  # as if that had not come


def test_data_beyond_the_window_is_left_to_the_rules(side: Side) -> None:
    stream = settled(side)
    for _ in range(4):
        assert side.core.receive_lone(wire.data(stream.id, bytes(16000)), 1.0) is stream
        stream.incoming.read(None)
    assert side.core.receive_lone(wire.data(stream.id, bytes(16000)), 1.0) is None


def test_a_stranger_has_no_short_way() -> None:
    side = Side(False, SessionConfig(wants_login=True))
    stream = settled(side)
    assert side.core.receive_lone(wire.data(stream.id, b"one"), 1.0) is None
    side.core.admit()
    assert side.core.receive_lone(wire.data(stream.id, b"one"), 1.0) is stream


CONFIG = SessionConfig(max_streams=4, accept_backlog=3, max_control_frames=64)
ids = st.integers(0, 6)
payloads = st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([bytes(16383), bytes(9000)]))
parts = st.one_of(
    st.builds(wire.data, ids, payloads),
    st.builds(wire.data, ids, payloads),
    st.builds(wire.data, ids, st.binary(max_size=3), fin=st.booleans()),
    st.builds(wire.syn, ids, fin=st.booleans()),
    st.builds(wire.rst, ids, st.integers(0, 9)),
    st.builds(wire.wnd_inc, ids, st.sampled_from([0, 1, 0x7FFFFFFF])),
    st.builds(wire.syn, ids, stream_type=st.just(EXTENSION)),
    st.binary(max_size=20),
)


def news(changes: Changes) -> tuple[list[list[int]], bool, bool]:
    lists = (changes.opened, changes.readable, changes.direct, changes.writable, changes.reset)
    return [[stream.id for stream in each] for each in lists], changes.streams, changes.going_away


@settings(deadline=None, max_examples=500)
@given(st.booleans(), st.lists(st.tuples(parts, st.booleans()), max_size=30))
def test_the_outcome_is_the_same_either_way(client: bool, steps: list[tuple[bytes, bool]]) -> None:
    short, long = (Side(client, CONFIG, extensions=(EXTENSION,)) for _ in range(2))
    known: list[dict[int, StreamState]] = [{}, {}]
    for side, streams in zip((short, long), known, strict=True):
        stream = side.core.open(Opening())
        streams[stream.id] = stream
        side.sent()
    for part, take in steps:
        expected = long.receive(part)
        stream_alone = short.core.receive_lone(part, short.now)
        if stream_alone is None:
            changes = short.receive(part)
            assert news(changes) == news(expected)
            known[0].update((stream.id, stream) for stream in changes.opened)
        else:
            assert news(expected) == ([[], [stream_alone.id], [], [], []], False, False)
        known[1].update((stream.id, stream) for stream in expected.opened)
        assert short.core.counters == long.core.counters
        if take:
            assert short.sent() == long.sent()
            for stream_id, stream in known[0].items():
                assert short.take_all(stream) == long.take_all(known[1][stream_id])
    for stream_id, stream in known[0].items():
        assert stream.incoming.available == known[1][stream_id].incoming.available
    check_same_outcome(short, known[0], long, known[1])

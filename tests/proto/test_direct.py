"""What arrives for a stream that is `direct`: offered to the shell as views, kept only as far as that leaves it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy import SessionConfig
from muxpy.proto import StreamState
from tests.frame import wire
from tests.frame.wire import CANCEL, DATA, FLOW_CONTROL_ERROR, RST, WINDOW, WND_INC

from .side import Side

HALF = WINDOW // 2


@pytest.fixture(params=[True, False], ids=["client", "server"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


def direct_stream(side: Side) -> StreamState:
    stream = side.accept()
    stream.incoming.direct = True
    return stream


def arriving(stream: StreamState) -> bytes:
    assert stream.incoming.arriving is not None
    return b"".join(stream.incoming.arriving)


def frames_of(stream: StreamState, data: bytes) -> bytes:
    """As many full frames as it takes."""
    return b"".join(wire.data(stream.id, data[start : start + 16383]) for start in range(0, len(data), 16383))


# ---- what is offered ----


def test_data_is_offered_and_not_kept(side: Side) -> None:
    stream = direct_stream(side)
    changes = side.receive(wire.data(stream.id, b"one "), wire.data(stream.id, b"two"))
    assert (changes.direct, changes.readable) == ([stream], [])
    assert arriving(stream) == b"one two"
    assert stream.incoming.chunks is None


def test_what_is_offered_are_views_of_what_was_received(side: Side) -> None:
    stream = direct_stream(side)
    buffer = bytearray(wire.data(stream.id, b"data"))
    side.core.receive(memoryview(buffer))
    assert stream.incoming.arriving is not None
    assert [piece.obj for piece in stream.incoming.arriving] == [buffer]


def test_streams_that_are_not_direct_are_kept_beside(side: Side) -> None:
    stream, other = direct_stream(side), side.accept(side.theirs + 2)
    changes = side.receive(wire.data(other.id, b"kept"), wire.data(stream.id, b"offered"))
    assert (changes.direct, changes.readable) == ([stream], [other])
    assert side.take(other) == b"kept"


def test_behind_unread_data_nothing_is_offered(side: Side) -> None:
    stream = side.accept()
    side.receive(wire.data(stream.id, b"unread, "))
    stream.incoming.direct = True
    changes = side.receive(wire.data(stream.id, b"behind"))
    assert (changes.direct, changes.readable) == ([], [stream])
    assert side.take_all(stream) == b"unread, behind"


def test_data_and_fin_are_one_offer(side: Side) -> None:
    stream = direct_stream(side)
    changes = side.receive(wire.data(stream.id, b"data"), wire.data(stream.id, fin=True))
    assert (changes.direct, changes.readable) == ([stream], [])
    assert stream.phase.peer_done
    side.core.pass_on(stream, 4)
    assert stream.incoming.buffered == 0


def test_a_bare_fin_is_no_offer(side: Side) -> None:
    stream = direct_stream(side)
    changes = side.receive(wire.data(stream.id, fin=True))
    assert (changes.direct, changes.readable) == ([], [stream])


def test_after_a_reset_nothing_is_offered(side: Side) -> None:
    stream = direct_stream(side)
    changes = side.receive(wire.data(stream.id, b"lost"), wire.rst(stream.id, CANCEL))
    assert (changes.direct, changes.readable, changes.reset) == ([], [], [stream])
    assert stream.incoming.arriving is None


def test_a_frame_that_breaks_the_session_does_not_take_back_what_came_before(side: Side) -> None:
    stream = direct_stream(side)
    changes = side.receive(wire.data(stream.id, b"data"), wire.rst(side.theirs + 2, CANCEL))
    assert side.core.error is not None
    assert changes.direct == [stream]
    side.core.pass_on(stream, 4)


def test_a_stream_that_sends_too_much_is_reset_and_not_offered(side: Side) -> None:
    stream = direct_stream(side)
    changes = side.receive(frames_of(stream, bytes(WINDOW)), wire.data(stream.id, b"!"))
    assert (changes.direct, changes.reset) == ([], [stream])
    assert [(frame.kind, frame.number) for frame in side.frames()] == [(RST, FLOW_CONTROL_ERROR)]


# ---- what is passed on ----


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 7])
def test_what_was_not_passed_on_is_kept(side: Side, count: int) -> None:
    stream = direct_stream(side)
    side.receive(wire.data(stream.id, b"one "), wire.data(stream.id, b"two"))
    side.core.pass_on(stream, count)
    assert stream.incoming.buffered == 7 - count
    assert stream.incoming.arriving is None
    assert side.take_all(stream) == b"one two"[count:]
    assert stream.incoming.buffered == 0


def test_what_is_kept_holds_no_view_of_what_was_received(side: Side) -> None:
    stream = direct_stream(side)
    buffer = bytearray(wire.data(stream.id, b"data"))
    side.core.receive(memoryview(buffer))
    side.core.pass_on(stream, 1)
    buffer.clear()  # raises BufferError while there are views
    assert side.take(stream) == b"ata"


def test_window_is_given_back_for_what_was_passed_on_alone(side: Side) -> None:
    stream = direct_stream(side)
    side.receive(frames_of(stream, bytes(WINDOW)))
    side.core.pass_on(stream, HALF - 1)
    assert side.frames() == []
    assert side.take(stream, 1) == bytes(1)
    [update] = side.frames()
    assert (update.kind, update.number) == (WND_INC, HALF)
    assert stream.incoming.available == HALF


def test_passing_all_on_gives_the_whole_window_back(side: Side) -> None:
    stream = direct_stream(side)
    side.receive(frames_of(stream, bytes(WINDOW)))
    side.core.pass_on(stream, WINDOW)
    [update] = side.frames()
    assert (update.kind, update.number) == (WND_INC, WINDOW)


def test_bytes_are_counted_once(side: Side) -> None:
    stream, other = direct_stream(side), side.accept(side.theirs + 2)
    side.receive(wire.data(stream.id, bytes(100)), wire.data(other.id, bytes(10)))
    assert side.core.counters.data_received == 10
    side.core.pass_on(stream, 60)
    assert side.core.counters.data_received == 110
    assert stream.incoming.received == 100
    side.take_all(stream)
    assert side.core.counters.data_received == 110


def test_a_stream_that_has_ended_keeps_its_window_until_the_last_byte_is_gone() -> None:
    side = Side(True, SessionConfig(receive_budget=WINDOW))
    stream = direct_stream(side)
    stream.incoming._grow_to(2 * WINDOW, side.core.budget)
    assert side.core.budget.left == 0
    side.receive(wire.data(stream.id, b"data", fin=True))
    side.core.pass_on(stream, 3)
    assert side.core.budget.left == 0
    assert side.take(stream) == b"a"
    assert side.core.budget.left == WINDOW


def test_a_stream_that_both_have_ended_is_given_up_when_all_was_passed_on() -> None:
    side = Side(True, SessionConfig(receive_budget=WINDOW))
    stream = direct_stream(side)
    stream.incoming._grow_to(2 * WINDOW, side.core.budget)
    side.core.finish(stream)
    side.receive(wire.data(stream.id, b"data", fin=True))
    assert stream.phase.over
    side.core.pass_on(stream, 4)
    assert side.core.budget.left == WINDOW
    assert [frame.kind for frame in side.frames()] == [DATA]  # our FIN, and no window for a stream that is over


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.floats(0, 1), st.booleans()), max_size=12
    )
)
def test_bytes_keep_their_order_however_much_is_passed_on(reads: list[tuple[list[int], float, bool]]) -> None:
    """Each read: frames, the part of them that is passed on, and whether what is kept is taken then."""
    side = Side(True)
    stream = direct_stream(side)
    source = bytes(number % 251 for number in range(4000))
    sent = 0
    came = b""
    for sizes, part, takes in reads:
        frames = []
        for size in sizes:
            frames.append(wire.data(stream.id, source[sent : sent + size]))
            sent += size
        for offered in side.receive(*frames).direct:
            data = arriving(offered)
            count = round(part * len(data))
            came += data[:count]
            side.core.pass_on(offered, count)
        if takes:
            came += side.take_all(stream)
        assert len(came) + stream.incoming.buffered == sent
        assert stream.incoming.available + stream.incoming.owed + stream.incoming.buffered == WINDOW
    assert came + side.take_all(stream) == source[:sent]
    assert side.core.counters.data_received == sent

"""Batches: control frames first, then data; and what a write that takes only a part leaves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy.frame import Buffer
from muxpy.proto import Batch, Opening, Phase
from tests.frame import wire
from tests.frame.wire import CANCEL
from tests.helpers.content import COUNTED

from .side import MANY, Side


def batch_of(*chunks: Buffer) -> Batch:
    return Batch(list(chunks), [], sum(map(len, chunks)))


def written(batch: Batch) -> bytes:
    return b"".join(batch.chunks)


def test_advance_drops_whole_chunks_and_cuts_one() -> None:
    batch = batch_of(b"head", bytearray(b"er"), memoryview(b"payload"))
    batch.advance(4)
    assert written(batch) == b"erpayload"
    batch.advance(3)
    assert written(batch) == b"ayload"
    batch.advance(0)
    batch.advance(6)
    assert batch.chunks == []


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=10), min_size=1, max_size=10), st.data())
def test_advance_over_any_borders(chunks: list[bytes], data: st.DataObject) -> None:
    batch = batch_of(*chunks)
    whole = b"".join(chunks)
    while whole:
        count = data.draw(st.integers(1, len(whole)))
        batch.advance(count)
        whole = whole[count:]
        assert written(batch) == whole
    assert batch.chunks == []


def test_own_copies_what_belongs_to_a_sender() -> None:
    buffer = bytearray(b"the sender's")
    batch = batch_of(b"header", memoryview(buffer))
    batch.advance(2)
    batch.own()
    buffer[:] = b"overwritten!"
    buffer.clear()  # raises BufferError while a view of it is alive
    assert written(batch) == b"aderthe sender's"


def test_payload_is_not_copied(side: Side) -> None:
    stream = side.open()
    payload = bytes(1000)
    side.submit(stream, payload)
    batch = side.core.sending.next_batch(MANY)
    assert batch is not None
    chunk = batch.chunks[-1]
    assert isinstance(chunk, memoryview)
    assert chunk.obj is payload


def test_control_frames_go_first_and_keep_their_order(side: Side) -> None:
    stream = side.open()
    side.submit(stream, b"data")
    second = side.core.open(Opening())
    side.core.finish(second)
    third = side.core.open(Opening())
    side.core.reset(third, CANCEL)
    assert side.sent() == (
        wire.syn(second.id)
        + wire.data(second.id, fin=True)
        + wire.syn(third.id)
        + wire.rst(third.id, CANCEL)
        + wire.data(stream.id, b"data")
    )


def test_there_is_output_as_long_as_something_waits(side: Side) -> None:
    assert not side.core.sending.has_output
    assert side.core.sending.next_batch(MANY) is None
    stream = side.core.open(Opening())
    assert side.core.sending.has_output
    assert side.sent() == wire.syn(stream.id)
    assert not side.core.sending.has_output
    side.submit(stream, bytes(100_000))
    assert side.core.sending.has_output
    side.sent()
    assert not side.core.sending.has_output  # the window is used up


def test_a_batch_ends_near_its_limit_and_lists_what_is_done(side: Side) -> None:
    streams = [side.open() for _ in range(3)]
    for stream in streams:
        side.submit(stream, bytes(20_000))
    done = []
    sizes = []
    while batch := side.core.sending.next_batch(16_000):
        sizes.append(sum(map(len, batch.chunks)))
        done += batch.done
        assert batch.size == sizes[-1]
    assert max(sizes) <= 16_000 + 16_383 + 8
    assert sorted(stream.id for stream in done) == [stream.id for stream in streams]
    assert all(not stream.unsent for stream in streams)


def test_what_a_batch_carries_is_counted(side: Side) -> None:
    stream = side.core.open(Opening())
    side.core.open(Opening())
    side.core.sending.submit_small(stream, b"small")
    side.submit(stream, bytes(40_000))
    batch = side.core.sending.next_batch(MANY)
    assert batch is not None
    assert batch.size == len(written(batch))
    assert side.core.counters.frames_sent == len(wire.split(written(batch))) == 6
    assert side.core.counters.data_sent == stream.sent == 40_005
    assert side.core.sending.next_batch(MANY) is None
    assert side.core.counters.frames_sent == 6


def test_a_small_message_keeps_its_place_among_control_frames(side: Side) -> None:
    """Framed at once, in the order of the calls, so that it is neither before its SYN nor after its FIN."""
    stream = side.core.open(Opening())
    assert side.core.sending.submit_small(stream, b"one")
    assert side.core.sending.submit_small(stream, bytearray(b"two"))
    assert side.core.sending.outbox.small_frames == 2
    side.core.finish(stream)
    assert side.sent() == wire.syn(stream.id) + b"".join(
        (wire.data(stream.id, b"one"), wire.data(stream.id, b"two", fin=True))
    )
    assert side.core.sending.outbox.small_frames == 0


def test_a_small_message_does_not_pass_what_stands_in_line(side: Side) -> None:
    first, second = side.open(), side.open()
    side.submit(first, b"x")
    assert not side.core.sending.submit_small(second, b"y")
    side.sent()
    assert side.core.sending.submit_small(second, b"y")


def test_a_small_message_needs_window_for_all_of_it(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(wire.WINDOW - 2))
    side.sent()
    assert not side.core.sending.submit_small(stream, b"xyz")
    assert side.core.sending.submit_small(stream, b"xy")
    assert stream.send_window == 0


def test_the_time_that_data_waits_for_window_is_measured(side: Side) -> None:
    stream, idle = side.open(), side.open()
    side.submit(stream, bytes(wire.WINDOW + 10))
    side.now = 1.0
    side.sent()  # uses the window up, with 10 bytes left to send
    side.now = 3.5
    side.receive(wire.wnd_inc(stream.id, 10), wire.wnd_inc(idle.id, 10))
    side.now = 4.0
    side.sent()
    side.submit(stream, b"more")
    side.now = 4.25
    side.core.sending.withdraw(stream)
    side.now = 9.0
    side.receive(wire.wnd_inc(stream.id, 10))
    assert stream.outgoing is not None
    assert stream.outgoing.blocked == 2.75
    assert idle.outgoing is None
    assert side.core.counters.blocked_on_window == 2.75


def test_fin_does_not_overtake_data(side: Side) -> None:
    stream = side.open()
    side.submit(stream, b"all of it")
    first = side.sent()
    side.core.finish(stream)
    assert wire.split(first + side.sent()) == [
        wire.Frame(wire.DATA, 0, stream.id, b"all of it"),
        wire.Frame(wire.DATA, wire.FIN, stream.id, b""),
    ]


# ---- a direction ends with its last data, without a frame of its own ----


@pytest.mark.parametrize("end", ["finish", "close"])
def test_a_direction_ends_with_the_small_message_that_still_waits(side: Side, end: str) -> None:
    first, stream, last = side.open(), side.open(), side.open()
    for each in (first, stream, last):
        assert side.core.sending.submit_small(each, b"one")
    assert side.core.sending.submit_small(stream, b"two")
    getattr(side.core, end)(stream)
    assert side.core.sending.outbox.control_frames == 0
    assert side.frames() == [
        *(wire.Frame(wire.DATA, 0, each.id, b"one") for each in (first, stream, last)),
        wire.Frame(wire.DATA, wire.FIN, stream.id, b"two"),
    ]
    assert side.core.counters.frames_sent == 3 + 4  # with their SYNs
    assert not stream.phase.sends


def test_a_small_message_that_is_written_ends_nothing(side: Side) -> None:
    stream, other = side.open(), side.open()
    assert side.core.sending.submit_small(stream, b"one")
    side.sent()
    assert side.core.sending.submit_small(other, b"another stream's")
    side.core.finish(stream)
    assert side.frames() == [
        wire.Frame(wire.DATA, 0, other.id, b"another stream's"),
        wire.Frame(wire.DATA, wire.FIN, stream.id, b""),
    ]


def test_a_small_message_may_be_submitted_as_the_last(side: Side) -> None:
    stream = side.open()
    assert side.core.sending.submit_small(stream, b"all of it", end=True)
    first = side.frames()  # written before the direction is finished
    assert side.core.finish(stream)
    assert not side.core.finish(stream)
    assert first + side.frames() == [wire.Frame(wire.DATA, wire.FIN, stream.id, b"all of it")]
    assert stream.phase is Phase.LOCAL_DONE


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 3 * 16_383, wire.WINDOW, wire.WINDOW + 10])
@pytest.mark.parametrize("limit", [1, MANY])
def test_the_frame_with_the_last_byte_ends_the_direction(side: Side, size: int, limit: int) -> None:
    stream = side.open()
    data = COUNTED[:size]
    side.core.sending.submit(stream, memoryview(data), end=True)
    frames, done = [], False
    while not done:
        batch = side.core.sending.next_batch(limit)
        if batch is None:
            side.receive(wire.wnd_inc(stream.id, 10))
            continue
        frames += wire.split(written(batch))
        done = bool(batch.done)
    assert [frame.flags for frame in frames] == [0] * (len(frames) - 1) + [wire.FIN]
    assert b"".join(frame.body for frame in frames) == data
    assert stream.phase.sends  # until the shell says that it is written
    side.core.close(stream)
    assert side.frames() == []
    assert not stream.phase.sends


def test_an_end_that_was_withdrawn_is_none(side: Side) -> None:
    stream = side.open()
    side.core.sending.submit(stream, memoryview(bytes(20_000)), end=True)
    batch = side.core.sending.next_batch(1)
    assert batch is not None
    side.core.sending.withdraw(stream)
    side.core.close(stream)
    assert [frame.flags for frame in wire.split(written(batch))] == [0]
    assert side.frames() == [wire.Frame(wire.RST, 0, stream.id, CANCEL.to_bytes(4, "big"))]


def test_a_stream_that_has_ended_leaves_the_rest_of_its_turn(side: Side) -> None:
    """It does not come back: the batch goes on with other streams."""
    last, other = side.core.open(Opening(priority=0x7FFFFFFF)), side.open()
    side.core.sending.submit(last, memoryview(bytes(wire.WINDOW)), end=True)
    side.submit(other, bytes(1_000))
    batch = side.core.sending.next_batch(MANY)
    assert batch is not None
    assert batch.done == [last, other]


# ---- a small message beside which nothing waits ----


@pytest.mark.parametrize("end", [False, True])
def test_a_lone_small_message_is_what_it_would_be_among_others(end: bool) -> None:
    sides = [Side(client=True) for _ in range(2)]
    streams = [side.open() for side in sides]
    frame = sides[0].core.sending.small_alone(streams[0], b"alone", end)
    assert sides[1].core.sending.submit_small(streams[1], b"alone", end)
    assert frame == sides[1].sent()
    assert sides[0].core.counters == sides[1].core.counters
    for side, stream in zip(sides, streams, strict=True):
        assert (stream.send_window, stream.sent, stream.ends) == (wire.WINDOW - 5, 5, end)
        side.core.finish(stream)
        assert len(side.frames()) == (not end)


def test_a_small_message_overtakes_nothing_that_waits(side: Side) -> None:
    stream, other, full = [side.open() for _ in range(3)]
    theirs = side.accept()
    sending = side.core.sending

    def none_goes(data: bytes = b"small") -> bool:
        window = stream.send_window
        went = sending.small_alone(stream, data, True) is not None
        return not (went or stream.sent or stream.ends) and stream.send_window == window

    assert none_goes(bytes(16_384))
    assert sending.submit_small(other, b"before it")
    assert none_goes()
    side.sent()
    for _ in range(4):
        side.receive(wire.data(theirs.id, bytes(wire.WINDOW // 8)))
    assert len(side.take_all(theirs)) == wire.WINDOW // 2
    assert none_goes()  # a window update waits
    side.sent()
    side.submit(full, bytes(2 * wire.WINDOW))
    assert none_goes()  # data stands in line
    side.sent()  # all that `full` has window for
    stream.send_window = 4
    assert none_goes()

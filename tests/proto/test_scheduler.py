"""Who sends next: shares in bytes, nobody starves, small messages wait little."""

from collections import Counter
from collections.abc import Sequence

import pytest

from muxpy.proto import Batch, Opening, StreamState, weight
from tests.frame import wire
from tests.frame.wire import EXTENSION, HEADER, WINDOW

from .side import Side

HIGHEST = 0x7FFFFFFF
FULL = memoryview(bytes(1 << 28))
"""More than any test here sends; the system backs it with memory only where it is read."""
BATCH = 128 * 1024


def frames_of(batch: Batch) -> list[tuple[int, int]]:
    """The stream and the payload size of each DATA frame, without touching the payload."""
    headers = [HEADER.unpack_from(chunk) for chunk in batch.chunks[::2]]
    assert [length for length, *_ in headers] == [len(chunk) for chunk in batch.chunks[1::2]]
    return [(stream_id, length) for length, _, _, stream_id in headers]


def open_streams(side: Side, *priorities: int) -> list[StreamState]:
    """Streams with as much window as there is."""
    streams = [side.core.open(Opening(priority)) for priority in priorities]
    side.sent()
    side.receive(*(wire.wnd_inc(stream.id, 0x7FFFFFFF - WINDOW) for stream in streams))
    return streams


def shares(side: Side, streams: Sequence[StreamState], batches: int) -> Counter[int]:
    """Bytes that each stream sent, all of them with always more to send."""
    sent: Counter[int] = Counter()
    for stream in streams:
        side.core.sending.submit(stream, FULL)
    for _ in range(batches):
        batch = side.core.sending.next_batch(BATCH)
        assert batch is not None
        for stream_id, size in frames_of(batch):
            sent[stream_id] += size
        for stream in batch.done:
            side.core.sending.submit(stream, FULL)
    return sent


@pytest.mark.parametrize(("priority", "expected"), [(0, 1), (1, 2), (2, 3), (3, 3), (7, 4), (HIGHEST, 32)])
def test_weight_is_one_and_a_step_for_each_bit_of_priority(priority: int, expected: int) -> None:
    assert weight(priority) == expected


@pytest.mark.parametrize("priorities", [(0, HIGHEST), (0, 0), (0, 1, 3), (0, 7, HIGHEST, 0)])
def test_bytes_are_shared_by_weight(side: Side, priorities: tuple[int, ...]) -> None:
    streams = open_streams(side, *priorities)
    sent = shares(side, streams, 1500)
    total = sum(sent.values())
    weights = sum(map(weight, priorities))
    for stream in streams:
        assert sent[stream.id] / total == pytest.approx(weight(stream.priority) / weights, rel=0.05)


def test_nobody_starves_beside_the_highest_priority(side: Side) -> None:
    streams = open_streams(side, *([HIGHEST] * 5), 0)
    for stream in streams:
        side.core.sending.submit(stream, FULL)
    waited = 0
    for _ in range(400):
        batch = side.core.sending.next_batch(BATCH)
        assert batch is not None
        for stream_id, size in frames_of(batch):
            waited = 0 if stream_id == streams[-1].id else waited + size
            assert waited <= 5 * 33 * 16384
        for stream in batch.done:
            side.core.sending.submit(stream, FULL)


def test_frames_carry_at_most_16383_bytes(side: Side) -> None:
    [stream] = open_streams(side, 0)
    side.core.sending.submit(stream, FULL[:100_000])
    batch = side.core.sending.next_batch(1 << 20)
    assert batch is not None
    assert [size for _, size in frames_of(batch)] == [16383] * 6 + [100_000 - 6 * 16383]
    assert batch.done == [stream]


@pytest.mark.parametrize("frames_before", [0, 1, 2, 3, 5, 8, 13, 100, 1001])
def test_a_small_message_waits_at_most_one_frame_of_each_other_stream(side: Side, frames_before: int) -> None:
    *bulk, chatty = open_streams(side, 0, 0, 0, 0)
    for stream in bulk:
        side.core.sending.submit(stream, FULL)
    for _ in range(frames_before):
        batch = side.core.sending.next_batch(1)
        assert batch is not None
        for stream in batch.done:
            side.core.sending.submit(stream, FULL)

    side.core.sending.submit(chatty, memoryview(b"hello"))
    waited: Counter[int] = Counter()
    while (chatty.id, 5) not in (frames := frames_of(side.core.sending.next_batch(1) or Batch([], [], 0))):
        waited.update(stream_id for stream_id, _ in frames)
    assert set(waited) <= {stream.id for stream in bulk}
    assert max(waited.values(), default=0) <= 1


def test_streams_of_equal_priority_take_turns(side: Side) -> None:
    streams = open_streams(side, 0, 0, 0)
    for stream in streams:
        side.core.sending.submit(stream, FULL[: 16383 * 4])
    batch = side.core.sending.next_batch(1 << 20)
    assert batch is not None
    assert [stream_id for stream_id, _ in frames_of(batch)] == [stream.id for stream in streams] * 4


def test_extension_streams_go_first(side: Side) -> None:
    bulk = side.core.open(Opening(HIGHEST))
    heartbeat = side.core.open(Opening(0, EXTENSION))
    side.sent()
    side.core.sending.submit(bulk, FULL)
    side.core.sending.next_batch(BATCH // 4)  # the bulk stream is in the middle of its turn
    side.core.sending.submit(heartbeat, memoryview(b"beat"))
    batch = side.core.sending.next_batch(BATCH)
    assert batch is not None
    assert frames_of(batch)[0] == (heartbeat.id, 4)


def test_an_extension_stream_without_window_does_not_hold_others_up(side: Side) -> None:
    heartbeat = side.core.open(Opening(0, EXTENSION))
    bulk = side.core.open(Opening())
    side.sent()
    side.core.sending.submit(heartbeat, FULL[: WINDOW + 1])
    side.core.sending.submit(bulk, FULL[:10])
    assert sum(len(frame.body) for frame in side.frames() if frame.stream_id == bulk.id) == 10


def test_windows_are_respected(side: Side) -> None:
    streams = [side.open() for _ in range(3)]
    for stream in streams:
        side.core.sending.submit(stream, FULL)
    sent = Counter[int]()
    for frame in side.frames():
        sent[frame.stream_id] += len(frame.body)
    assert sent == {stream.id: WINDOW for stream in streams}
    assert not side.core.sending.has_output

    side.receive(wire.wnd_inc(streams[1].id, 5000))
    assert side.sent() == wire.data(streams[1].id, bytes(5000))


def test_a_stream_without_window_stands_in_line_once_it_has_some(side: Side) -> None:
    stream = side.open()
    side.core.sending.submit(stream, FULL[:WINDOW])
    side.sent()
    side.core.sending.submit(stream, FULL[:5])
    assert not side.core.sending.has_output
    side.receive(wire.wnd_inc(stream.id, 5), wire.wnd_inc(stream.id, 5))
    assert side.sent() == wire.data(stream.id, bytes(5))


def test_a_withdrawn_stream_leaves_the_line(side: Side) -> None:
    first, second = (side.open() for _ in range(2))
    side.core.sending.submit(first, memoryview(b"never"))
    side.core.sending.submit(second, memoryview(b"now"))
    side.core.sending.withdraw(first)
    assert side.sent() == wire.data(second.id, b"now")
    assert not side.core.sending.has_output
    side.core.sending.submit(first, memoryview(b"later"))
    assert side.sent() == wire.data(first.id, b"later")


def test_a_stream_withdrawn_and_submitted_again_stands_in_line_once(side: Side) -> None:
    stream = side.open()
    side.core.sending.submit(stream, memoryview(b"first"))
    side.core.sending.withdraw(stream)
    side.core.sending.submit(stream, memoryview(b"second"))
    assert side.sent() == wire.data(stream.id, b"second")
    assert not side.core.sending.has_output


def test_a_reset_stream_leaves_the_line(side: Side) -> None:
    stream = side.open()
    side.core.sending.submit(stream, FULL)
    side.receive(wire.rst(stream.id, 7))
    assert side.sent() == b""
    assert not side.core.sending.has_output


# ---- a sender with one write in line at a time ----


PART = 65536
"""What such a sender submits at a time."""


class Sender:
    """A task that sends `part` bytes, waits until they are in a batch, and sends again; what it and others got."""

    def __init__(self, side: Side, priority: int, others: int, *, part: int = PART) -> None:
        self.side = side
        self.stream, *self.others = open_streams(side, priority, *([0] * others))
        self.sent: Counter[int] = Counter()
        self._part = FULL[:part]
        for stream in self.others:
            side.core.sending.submit(stream, FULL)
        self.submit()

    @property
    def deficit(self) -> int:
        outgoing = self.stream.outgoing
        return 0 if outgoing is None else outgoing.deficit

    def submit(self) -> None:
        self.side.core.sending.submit(self.stream, self._part)

    def batch(self, limit: int = BATCH, *, turn: int = 1) -> list[tuple[int, int]]:
        """The frames of the next batch. Whoever is done with it has submitted more before the next one."""
        batch = self.side.core.sending.next_batch(limit, quanta=turn)
        assert batch is not None
        frames = frames_of(batch)
        for stream_id, size in frames:
            self.sent[stream_id] += size
        for stream in batch.done:
            if stream is self.stream:
                self.submit()
            else:
                self.side.core.sending.submit(stream, FULL)
        return frames

    @property
    def share(self) -> float:
        return self.sent[self.stream.id] / self.sent.total()


@pytest.mark.parametrize(("others", "turn"), [(1, 1), (2, 1), (8, 1), (32, 1), (2, 4), (8, 4), (32, 4)])
@pytest.mark.parametrize("priority", [0, 7, 0xFFFF, HIGHEST])
def test_a_sender_of_one_write_at_a_time_gets_its_share(side: Side, priority: int, others: int, turn: int) -> None:
    """Though it runs dry after 64 KiB, and its turn may be eight times that.

    Not for any numbers: one whose write ends early in a batch is away for the rest of it, and where each write of a
    middling priority does so, beside a few others, it may get half as much.
    """
    sender = Sender(side, priority, others)
    for _ in range(1500):
        sender.batch(turn=turn)
    assert sender.share == pytest.approx(weight(priority) / (weight(priority) + others), rel=0.15)
    # Nor is what it gets taken from some of the others only.
    shares = [sender.sent[stream.id] for stream in sender.others]
    assert max(shares) <= min(shares) + 2 * turn * 16384


@pytest.mark.parametrize("turn", [1, 4])
def test_nobody_starves_beside_a_sender_that_always_comes_back_to_the_head(side: Side, turn: int) -> None:
    """Between two frames of a stream lie at most the turns of all others, by their weights."""
    sender = Sender(side, HIGHEST, 32)
    waited = dict.fromkeys((stream.id for stream in sender.others), 0)
    for _ in range(1000):
        for stream_id, size in sender.batch(turn=turn):
            for other in waited:
                waited[other] += size
            waited[stream_id] = 0
            assert max(waited.values()) <= turn * (32 + 32) * 16384


@pytest.mark.parametrize("part", [1000, 16384, PART])
def test_a_stream_that_comes_back_with_turn_left_goes_to_the_head(side: Side, part: int) -> None:
    sender = Sender(side, HIGHEST, 3, part=part)
    while not sender.sent[sender.stream.id]:
        sender.batch()
    for _ in range(5):
        assert sender.deficit > 0
        assert sender.batch()[0][0] == sender.stream.id


def test_a_stream_that_comes_back_without_turn_goes_to_the_back(side: Side) -> None:
    sender = Sender(side, 0, 3, part=16383)
    line = [*(stream.id for stream in sender.others), sender.stream.id]
    assert [sender.batch(1) for _ in range(8)] == [[(stream_id, 16383)] for stream_id in line * 2]


@pytest.mark.parametrize("part", [1000, 16383, 50_000, PART, 300_000, 1 << 20])
def test_coming_back_does_not_bring_more_than_a_turn_each_round(side: Side, part: int) -> None:
    """Whatever the size of its writes: between two turns of another stream it sends its quanta and a frame at most."""
    sender = Sender(side, HIGHEST, 4, part=part)
    run = 0
    for _ in range(1500):
        for stream_id, size in sender.batch():
            run = run + size if stream_id == sender.stream.id else 0
            assert run <= 32 * 16383 + 16383
    for stream in sender.others:
        assert sender.sent[stream.id] / sender.sent.total() >= 0.95 / (32 + 4)


def test_a_batch_ends_early_only_for_a_stream_with_turn_left(side: Side) -> None:
    """It will come back to the head, and is let; but not before half the batch is full."""
    sender = Sender(side, HIGHEST, 32)
    early = 0
    for _ in range(500):
        frames = sender.batch()
        size = sum(HEADER.size + payload for _, payload in frames)
        if size < BATCH:
            early += 1
            assert size >= BATCH // 2
            assert frames[-1][0] == sender.stream.id
            assert sender.deficit > 0
    assert early > 100


def test_a_batch_does_not_end_early_for_streams_whose_turn_is_over(side: Side) -> None:
    streams = open_streams(side, *([0] * 40))
    for _ in range(50):
        for stream in streams:
            if not stream.unsent:
                side.core.sending.submit(stream, FULL[:16383])
        batch = side.core.sending.next_batch(BATCH)
        assert batch is not None
        assert len(batch.done) == len(frames_of(batch)) == 8
        assert batch.size >= BATCH

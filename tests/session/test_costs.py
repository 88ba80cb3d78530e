"""What traffic costs, counted and never timed: system calls, frames, wake-ups and copies for a fixed piece of work.

Both ends run in one Trio run over a Unix socket pair, where what was written can be read at once, so most counts are
exact. Trio runs the tasks of a pass in one order or the other, as a coin falls; where that changes a count, a comment
says what bounds it. Time stands still, or goes by the steps that tasks take, so windows grow alike on any machine.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy._open import _run_session
from muxpy.frame.muxado import MAX_PAYLOAD, encode_wnd_inc
from muxpy.proto import Batch, _sending
from muxpy.proto._incoming import Incoming
from muxpy.session import _writer
from muxpy.transport._socket import SocketTransport
from tests.helpers.pairs import session_pair, stream_pair, unix_pair
from tests.helpers.tasks import bounded, read_all
from tests.helpers.walks import unwalkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from muxpy.frame import Buffer

Clock: TypeAlias = trio.testing.MockClock

KIB = 1024
MIB = 1024 * KIB
WINDOW = 64 * KIB
SMALL = bytes(100)
ENOUGH = 32
"""Small messages that are worth a write."""
STEP = 1e-5
"""Seconds that a step of a task takes, where time goes by steps."""
QUIET = muxpy.SessionConfig(heartbeat_interval=None, max_streams=2000, accept_backlog=2000)


# ---- counting ----


@dataclass(frozen=True)
class End:
    """What one end of a session did."""

    reads: int
    writes: int
    frames_sent: int
    frames_received: int
    data_received: int
    data_sent: int
    bytes_sent: int
    updates: int


class Costs(trio.abc.Instrument):
    """Counts from its making to `stop`. With a clock, each step of a task takes STEP seconds."""

    def __init__(self, client: muxpy.Session, server: muxpy.Session, clock: Clock | None) -> None:
        self._sessions = client, server
        self._clock = clock
        self._before = client.statistics(), server.statistics()
        self._steps: Counter[bool] = Counter()
        self.passes = 0
        """Passes of the scheduler: those of both ends together, as one run has both."""

    def before_io_wait(self, timeout: float) -> None:
        self.passes += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps["Background." in task.name] += 1
        if self._clock is not None:
            self._clock.jump(STEP)

    def stop(self) -> None:
        self.client, self.server = map(_since, self._before, self._sessions)
        self.application = self._steps[False]
        """Wake-ups of the tasks that use the sessions."""
        self.background = self._steps[True]
        """Wake-ups of the sessions' own tasks."""
        self.writers = self.background - self.client.reads - self.server.reads
        """The same, but for one of a reader for each read."""


def _since(before: muxpy.SessionStatistics, session: muxpy.Session) -> End:
    now = session.statistics()
    return End(
        reads=now.reads - before.reads,
        writes=now.writes - before.writes,
        frames_sent=now.frames_sent - before.frames_sent,
        frames_received=now.frames_received - before.frames_received,
        data_received=now.data_received - before.data_received,
        data_sent=now.data_sent - before.data_sent,
        bytes_sent=now.bytes_sent - before.bytes_sent,
        updates=now.window_updates_sent - before.window_updates_sent,
    )


async def costs_of(
    work: Callable[[], Awaitable[None]],
    client: muxpy.Session,
    server: muxpy.Session,
    clock: Clock | None = None,
) -> Costs:
    """Do `work` in this task, and what it cost until all was quiet again."""
    await wait_all_tasks_blocked()
    costs = Costs(client, server, clock)
    trio.lowlevel.add_instrument(costs)
    try:
        await work()
    finally:
        trio.lowlevel.remove_instrument(costs)
    await wait_all_tasks_blocked()  # what is still on its way is read and written, though by tasks not counted
    costs.stop()
    return costs


async def answer(stream: muxpy.Stream) -> None:
    """Send each message back."""
    while part := await stream.receive_some():
        await stream.send_all(part)


@asynccontextmanager
async def answering(kind: str = "unix") -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    """A quiet pair whose server end answers on every stream."""
    async with (
        session_pair(kind, client_config=QUIET, server_config=QUIET, client_extensions=[], server_extensions=[]) as (
            client,
            server,
        ),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(server.serve_streams, answer)
        yield client, server
        client.kill()
        server.kill()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def quiet() -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    """A quiet pair whose streams the test accepts."""
    async with session_pair(
        "unix", client_config=QUIET, server_config=QUIET, client_extensions=[], server_extensions=[]
    ) as (client, server):
        yield client, server
        client.kill()
        server.kill()


async def ask(stream: muxpy.Stream, times: int) -> None:
    """Send a message, have it back, so many times."""
    for _ in range(times):
        await stream.send_all(SMALL)
        assert await stream.receive_some() == SMALL


async def ask_all(streams: list[muxpy.Stream], times: int) -> None:
    """The same on all of them, each with a task of its own."""
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(ask, stream, times)


async def opened(client: muxpy.Session, count: int) -> list[muxpy.Stream]:
    """Streams that have carried a message each way."""
    streams = [await client.open_stream() for _ in range(count)]
    for stream in streams:
        await stream.send_all(SMALL)
    for stream in streams:
        assert await stream.receive_some() == SMALL
    return streams


# ---- one stream: a request and its answer ----


@pytest.mark.parametrize("kind", ["unix", "memory"])
@bounded()
async def test_an_echo_costs_one_read_and_one_write_at_each_end(kind: str, mock_clock: Clock) -> None:
    async with answering(kind) as (client, server):
        [stream] = await opened(client, 1)
        costs = await costs_of(lambda: ask(stream, 200), client, server)
    for end in (costs.client, costs.server):
        assert (end.reads, end.writes, end.frames_sent, end.updates) == (200, 200, 200, 0)
        assert end.bytes_sent == 200 * (8 + len(SMALL))


@bounded()
async def test_a_lone_message_is_written_as_it_was_framed(mock_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """One buffer, which has all of it, and no batch around it."""
    batches = 0

    def count(*arguments: object) -> Batch:
        nonlocal batches
        batches += 1
        return Batch(*arguments)  # type: ignore[arg-type]

    async with answering() as (client, _):
        [stream] = await opened(client, 1)
        await ask(stream, 10)
        for module in (_sending, _writer):
            monkeypatch.setattr(module, "Batch", count)
        with recorded_writes(monkeypatch) as writes:
            await ask(stream, 100)
    assert [[len(buffer) for buffer in write] for write in writes] == [[8 + len(SMALL)]] * 200
    assert batches == 0


@bounded()
async def test_a_lone_echo_wakes_nobody_but_those_who_wait_for_it(mock_clock: Clock) -> None:
    """The task that sends also writes, and the task that waits also reads: no other task has a part in it."""
    async with answering() as (client, server):
        [stream] = await opened(client, 1)
        await ask(stream, 10)  # until both ends have seen that there is a lone receiver
        costs = await costs_of(lambda: ask(stream, 200), client, server)
    # At each end the first wait reads again by the reader's task, since `costs_of` waited for something else before;
    # and the reader's tasks read on when all is done.
    assert costs.background <= 8
    assert costs.passes <= 200 * 2 + 8
    # The asking task and the answering one, each: when there is data. What it then sends costs no step.
    assert costs.application <= 200 * 2 + 8


# ---- many streams: messages come together ----


@pytest.mark.no_cover  # bulk
@pytest.mark.parametrize("idle", [0, 1000], ids=["alone", "beside_1000_idle_streams"])
@bounded()
async def test_a_hundred_echoes_at_once_are_five_writes_at_each_end(idle: int, mock_clock: Clock) -> None:
    count, rounds = 100, 20
    async with answering() as (client, server):
        await opened(client, idle)
        streams = await opened(client, count)

        async def work() -> None:
            for _ in range(rounds):
                await ask_all(streams, 1)

        with unwalkable(client), unwalkable(server):
            costs = await costs_of(work, client, server)
    for end in (costs.client, costs.server):
        assert end.frames_sent == end.frames_received == rounds * count
        assert end.updates == 0
        # The client writes 32 + 32 + 32 messages, and the rest when the writer task has its turn; or the first alone
        # if the last read brought one answer only. What a read of the server brings of them is answered in as many
        # writes at most, since each carries 32 too; and each read brings what one write carried, or more.
        assert end.writes <= 5 * rounds
        assert end.reads <= 5 * rounds
    # As with one stream, and to start each asking task, and to end each nursery.
    assert costs.application == rounds * (3 * count + 1)
    # A writer task is woken when messages wait, and looks once more for what has come since: twice for each read, and
    # for what the client begins with.
    assert costs.writers <= 2 * (costs.client.reads + costs.server.reads + rounds)


@bounded()
async def test_a_hundred_streams_that_do_not_wait_for_each_other_share_their_writes_too(mock_clock: Clock) -> None:
    count, times = 100, 20
    async with answering() as (client, server):
        streams = await opened(client, count)
        costs = await costs_of(lambda: ask_all(streams, times), client, server)
    for end, peer in ((costs.client, costs.server), (costs.server, costs.client)):
        assert end.frames_sent == count * times
        # Each write carries 32 messages, or is the one that ends what a read has set off; the first round of the
        # client was set off by none. How many reads that is varies: as the coin falls, the streams go together or in
        # groups, one for each write at most.
        assert end.writes <= count * times / ENOUGH + end.reads + 1
        assert end.reads <= peer.writes
        assert end.writes <= count * times / 16
    # And some when the last streams are alone, and take the lead: a task that loses it has run once for nothing.
    assert 0 <= costs.application - (2 * count * times + count + 1) <= 16
    assert costs.writers <= 2 * (costs.client.reads + costs.server.reads + 1) + 16


@bounded()
async def test_a_hundred_echoes_at_once_are_few_writes_in_memory_too(mock_clock: Clock) -> None:
    """There the writer task does all the writing: once for each of the groups that a read of the peer brought."""
    count, rounds = 100, 20
    async with answering("memory") as (client, server):
        streams = await opened(client, count)

        async def work() -> None:
            for _ in range(rounds):
                await ask_all(streams, 1)

        costs = await costs_of(work, client, server)
    for end in (costs.client, costs.server):
        assert end.frames_sent == rounds * count
        assert end.writes <= 5 * rounds
        assert end.reads <= 5 * rounds


@bounded()
async def test_a_hundred_messages_at_once_are_four_writes(mock_clock: Clock) -> None:
    async with quiet() as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(100)]

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                for near, _ in pairs:
                    nursery.start_soon(near.send_all, SMALL)

        await costs_of(work, client, server)
        await pairs[0][0].send_all(SMALL)  # whoever is alone writes at once; from here on nobody is
        costs = await costs_of(work, client, server)
    assert costs.client.frames_sent == 100
    assert costs.client.writes == 4  # 32 + 32 + 32, and the writer task's 4


@pytest.mark.parametrize("end", [False, True], ids=["apart", "with_data"])
@bounded()
async def test_opening_sending_and_closing_ride_together(end: bool, mock_clock: Clock) -> None:
    """A hundred streams that live for one message: four writes for each pass, and not one for each frame."""
    count = 100

    async def answer_all(stream: muxpy.Stream) -> None:
        await stream.send_all(await read_all(stream), end=end)

    async def one(session: muxpy.Session) -> None:
        async with await session.open_stream() as stream:
            await stream.send_all(SMALL, end=end)
            await stream.send_eof()
            assert await read_all(stream) == SMALL

    async with quiet() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer_all)

        async def work() -> None:
            async with trio.open_nursery() as askers:
                for _ in range(count):
                    askers.start_soon(one, client)

        costs = await costs_of(work, client, server)
        nursery.cancel_scope.cancel()
    assert costs.client.frames_sent == costs.server.frames_received
    assert costs.server.frames_sent == costs.client.frames_received
    if end:
        assert costs.client.frames_sent == 2 * count  # SYN, data with FIN
        assert costs.server.frames_sent == count
    else:  # a FIN has a frame of its own if its data is written already
        assert 2 * count <= costs.client.frames_sent <= 3 * count
        assert count <= costs.server.frames_sent <= 2 * count
    for counts in (costs.client, costs.server):
        # Four for the hundred messages, with the SYNs among them, and one more for each read; FINs follow a pass
        # later, or two.
        assert counts.writes <= (6 if end else 8), counts
        assert counts.reads <= (6 if end else 8), counts


@bounded()
async def test_a_stream_that_is_opened_and_used_at_once_begins_with_one_write(mock_clock: Clock) -> None:
    async with quiet() as (client, server):
        await wait_all_tasks_blocked()

        async def work() -> None:
            stream = await client.open_stream()
            await stream.send_all(SMALL)

        costs = await costs_of(work, client, server)
    assert (costs.client.frames_sent, costs.client.writes, costs.server.reads) == (2, 1, 1)


@bounded()
async def test_a_request_and_its_answer_need_no_frame_for_their_ends(mock_clock: Clock) -> None:
    """One write carries SYN and DATA with FIN, and one the answer with FIN; no more."""

    async def answer_all(stream: muxpy.Stream) -> None:
        await stream.send_all(await read_all(stream), end=True)

    async with quiet() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer_all)

        async def work() -> None:
            async with await client.open_stream() as stream:
                await stream.send_all(SMALL, end=True)
                assert await read_all(stream) == SMALL

        costs = await costs_of(work, client, server)
        nursery.cancel_scope.cancel()
    assert (costs.client.frames_sent, costs.client.writes, costs.server.reads) == (2, 1, 1)
    assert (costs.server.frames_sent, costs.server.writes, costs.client.reads) == (1, 1, 1)
    # The client's, since its SYN might have had to go alone. A close has nothing more to say.
    assert costs.writers <= 1


@bounded()
async def test_a_stream_closed_in_the_pass_of_its_last_message_ends_with_that(mock_clock: Clock) -> None:
    """While a write is awaited, messages wait, and an end is a flag on the last of them."""
    async with quiet() as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(2)]

        async def work() -> None:
            client._engine.writer.cork()
            for near, _ in pairs:
                await near.send_all(SMALL)
                await near.aclose()
            client._engine.writer.uncork()

        costs = await costs_of(work, client, server)
        for _, far in pairs:
            assert await read_all(far) == SMALL
    assert (costs.client.frames_sent, costs.client.writes) == (2, 1)


# ---- bulk ----


@bounded()
async def test_bulk_costs_one_write_for_each_send_and_few_window_updates(mock_clock: Clock) -> None:
    size, part = 8 * MIB, bytes(64 * KIB)
    sends = size // len(part)
    chunks = 0
    async with quiet() as (client, server):
        near, far = await stream_pair(client, server)

        async def send() -> None:
            for _ in range(sends):
                await near.send_all(part)

        async def work() -> None:
            nonlocal chunks
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                received = 0
                while received < size:
                    received += len(await far.receive_some())
                    chunks += 1

        costs = await costs_of(work, client, server, mock_clock)
        assert server.statistics().largest_window >= MIB
    sender, receiver = costs.client, costs.server
    # 65,536 bytes are four full frames and one of 4 bytes.
    assert sender.frames_sent == receiver.frames_received == 5 * sends
    assert sender.bytes_sent == size + 8 * sender.frames_sent
    # One for each update while the window is small: half of 64 KiB, then what makes it double. Then one for 256 KiB.
    assert receiver.updates <= size / (256 * KIB) + 8
    assert sender.reads <= receiver.writes == receiver.updates == receiver.frames_sent
    # An update that comes in the middle of a send, or a socket that is full, costs it a second write each.
    assert sends <= sender.writes <= sends + 16
    assert receiver.reads <= sender.writes
    assert chunks <= receiver.reads  # all that a read brings is one chunk
    # A step for each send, and one for each chunk; a few to begin and end, or for a send that had to wait.
    assert costs.application <= sends + chunks + 8
    assert costs.writers <= 16


@bounded()
async def test_a_window_that_cannot_grow_costs_one_update_for_each_half_of_it(mock_clock: Clock) -> None:
    size = 4 * MIB
    config = muxpy.SessionConfig(heartbeat_interval=None, receive_budget=0)
    async with session_pair(
        "unix", client_config=QUIET, server_config=config, client_extensions=[], server_extensions=[]
    ) as (client, server):
        near, far = await stream_pair(client, server)

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.send_all, bytes(size))
                received = 0
                while received < size:
                    received += len(await far.receive_some(KIB))

        costs = await costs_of(work, client, server, mock_clock)
        client.kill()
    assert costs.server.updates == size // (WINDOW // 2)
    assert costs.server.writes <= costs.server.updates
    # What an update brings is sent at once: two full frames and one of 2 bytes, in one write. The window is 64 KiB in
    # the beginning, which the second update follows.
    assert costs.client.writes <= size // (WINDOW // 2)
    assert costs.client.frames_sent <= 3 * size // (WINDOW // 2)


@pytest.mark.parametrize(("seconds_a_byte", "wakes_writer"), [(1e-9, False), (1e-8, True)])
@bounded()
async def test_on_a_fast_way_a_sender_takes_along_what_stands_in_line(
    seconds_a_byte: float, wakes_writer: bool, mock_clock: Clock
) -> None:
    """While all have one weight: nobody's turn is passed over, and the writer task is not woken."""
    data = bytes(20_000)
    async with quiet() as (client, server):
        (one, far), (two, _) = [await stream_pair(client, server) for _ in range(2)]
        for _ in range(200):
            client._engine.writer.pacing.wrote_in(MIB, seconds_a_byte * MIB)

        async def work() -> None:
            client._engine.core.sending.submit(one._state, memoryview(data))
            await two.send_all(data)
            await wait_all_tasks_blocked()

        costs = await costs_of(work, client, server)
        assert costs.client.data_sent == 2 * len(data)
        assert costs.client.writes == 1
        assert (costs.writers > 0) is wakes_writer
        assert await far.receive_some() == data


@bounded()
async def test_many_bulk_streams_fill_their_writes(mock_clock: Clock) -> None:
    """While others write, senders stand in line, and a batch takes 128 KiB of them."""
    streams, size = 8, MIB
    async with quiet() as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(streams)]

        async def read(stream: muxpy.Stream) -> None:
            received = 0
            while received < size:
                received += len(await stream.receive_some())

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                for near, far in pairs:
                    nursery.start_soon(near.send_all, bytes(size))
                    nursery.start_soon(read, far)

        costs = await costs_of(work, client, server, mock_clock)
    assert costs.server.data_received == streams * size
    # Full frames, but for one at the end of each window that was used up.
    assert costs.client.frames_sent <= streams * size / MAX_PAYLOAD + costs.server.updates + streams
    assert costs.server.updates <= streams * size / WINDOW
    assert costs.client.writes <= 2 * streams * size / (128 * KIB)


# ---- small messages that are no answers ----


@bounded()
async def test_small_messages_that_are_no_answers_go_thirty_two_at_a_time(mock_clock: Clock) -> None:
    """The writer task lets them come together as long as more come."""
    messages, part = 1024, bytes(KIB)
    one, two = unix_pair()
    recorder = Recorder(one)
    async with two, _run_session(recorder, True, QUIET, []) as session, trio.open_nursery() as nursery:
        stream = await session.open_stream()
        await wait_all_tasks_blocked()
        await two.send_all(encode_wnd_inc(stream.id, 1 << 30))
        await wait_all_tasks_blocked()
        await stream.send_all(part)  # the first one after a read is alone, and is written at once
        await wait_all_tasks_blocked()
        nursery.start_soon(drain, two)
        recorder.batches.clear()
        before = session.statistics()
        for _ in range(messages):
            await stream.send_all(part)
        await wait_all_tasks_blocked()
        after = session.statistics()
        session.kill()
        nursery.cancel_scope.cancel()
    assert after.reads == before.reads
    assert after.frames_sent - before.frames_sent == messages
    assert after.writes - before.writes == len(recorder.batches)
    sizes = [sum(map(len, batch)) // (8 + KIB) for batch in recorder.batches]
    assert sum(sizes) == messages
    # The writer task looks again when each other task has had a turn, so more has always come, until there are enough
    # and whoever made it enough writes. The first batch may be a few, since the last read was not followed by one.
    assert sizes[1:-1] == [ENOUGH] * (len(sizes) - 2)


async def drain(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some(65536):
        pass


# ---- copies ----


class Recorder(SocketTransport):
    """Notes the pieces of each batch as the session hands them over."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self.batches: list[list[Buffer]] = []
        self._last: Batch | None = None

    def try_send(self, batch: Batch) -> bool:
        if batch is not self._last:  # not one that had to wait
            self._last = batch
            self.batches.append(list(batch.chunks))
        return super().try_send(batch)


@contextmanager
def recorded_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[Buffer]]]:
    """The buffers of each system call that writes."""
    writes: list[list[Buffer]] = []
    write, writev = os.write, os.writev

    def record(fd: int, buffers: list[Buffer]) -> int:
        writes.append(list(buffers))
        return writev(fd, buffers)

    def record_one(fd: int, frame: Buffer) -> int:
        writes.append([frame])
        return write(fd, frame)

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", record)
        patch.setattr(os, "write", record_one)
        yield writes


def is_view_of(piece: Buffer, whole: bytearray) -> bool:
    return isinstance(piece, memoryview) and piece.obj is whole


@bounded()
async def test_large_data_is_written_from_the_buffer_of_the_caller(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(os.urandom(60_000))
    async with quiet() as (client, server):
        near, far = await stream_pair(client, server)
        await wait_all_tasks_blocked()
        with recorded_writes(monkeypatch) as writes:
            await near.send_all(data)
        pieces = [piece for write in writes for piece in write if is_view_of(piece, data)]
        assert b"".join(pieces) == data
        assert len(pieces) == -(-len(data) // MAX_PAYLOAD)
        assert sum(len(piece) for write in writes for piece in write) == len(data) + 8 * len(pieces)
        assert await far.receive_some() == data


@bounded()
async def test_small_messages_are_written_from_one_buffer(mock_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with quiet() as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(10)]
        await wait_all_tasks_blocked()
        with recorded_writes(monkeypatch) as writes:
            async with trio.open_nursery() as nursery:
                for near, _ in pairs:
                    nursery.start_soon(near.send_all, SMALL)
            await wait_all_tasks_blocked()
        assert {len(write) for write in writes} == {1}
        assert sum(len(buffer) for [buffer] in writes) == len(pairs) * (8 + len(SMALL))


@bounded()
async def test_small_pieces_that_stood_in_line_are_joined_before_they_are_written(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views are not copied when they are framed: `send_all` of one is never taken for a small message."""
    async with quiet() as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(10)]
        await wait_all_tasks_blocked()
        with recorded_writes(monkeypatch) as writes:
            client._engine.core.sending.submit(pairs[0][0]._state, memoryview(SMALL))  # so that nobody writes at once
            async with trio.open_nursery() as nursery:
                for near, _ in pairs[1:]:
                    nursery.start_soon(near.send_all, memoryview(SMALL))
            await wait_all_tasks_blocked()
        assert [len(write) for write in writes] == [1]
        assert len(writes[0][0]) == len(pairs) * (8 + len(SMALL))


@bounded()
async def test_what_a_read_brings_for_a_stream_is_copied_once(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chunk, which `receive_some` returns as it is."""
    kept: list[Incoming] = []
    settle = Incoming.settle

    def count(incoming: Incoming) -> int:
        kept.append(incoming)
        return settle(incoming)

    monkeypatch.setattr(Incoming, "settle", count)
    data = os.urandom(60_000)
    async with quiet() as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(3)]
        await wait_all_tasks_blocked()
        before = server.statistics()
        async with trio.open_nursery() as nursery:
            for near, _ in pairs:
                nursery.start_soon(near.send_all, data)
        await wait_all_tasks_blocked()
        after = server.statistics()
        assert after.frames_received - before.frames_received == 3 * -(-len(data) // MAX_PAYLOAD)
        for _, far in pairs:
            assert kept.count(far._state.incoming) <= after.reads - before.reads
            chunks = far._state.incoming.chunks
            assert chunks is not None
            assert len(chunks) == kept.count(far._state.incoming)
            received = b""
            while far._state.incoming.chunks:
                chunk = far._state.incoming.chunks[0]
                part = await far.receive_some()
                assert part is chunk
                received += part
            assert received == data


# ---- memory ----


def objects_of_muxpy() -> list[object]:
    gc.collect()
    return [thing for thing in gc.get_objects() if str(type(thing).__module__).startswith("muxpy.")]


@pytest.mark.parametrize("waits", [False, True])
@bounded()
async def test_an_idle_stream_is_three_small_objects_at_each_end(waits: bool, mock_clock: Clock) -> None:
    """Also after it has carried small messages: its face, its state, and its receiving direction. Where a task waits
    on it, there is one that knows the task. What else a stream may need is made when it does."""
    count = 20
    async with quiet() as (client, server), trio.open_nursery() as nursery:
        before = {id(thing) for thing in objects_of_muxpy()}
        pairs = [await stream_pair(client, server) for _ in range(count)]
        for near, far in pairs:
            for one, other in ((near, far), (far, near)):
                await one.send_all(SMALL)
                await wait_all_tasks_blocked()
                assert await other.receive_some() == SMALL
            if waits:
                nursery.start_soon(near.receive_some)
                nursery.start_soon(far.receive_some)
        await wait_all_tasks_blocked()
        made = [thing for thing in objects_of_muxpy() if id(thing) not in before]
        kinds = Counter(type(thing).__name__ for thing in made)
        assert kinds.pop("Waiting", 0) <= 2 * count * waits
        assert kinds == dict.fromkeys(("Stream", "StreamState", "Incoming"), 2 * count)
        assert sum(map(sys.getsizeof, made)) <= (433 if waits else 361) * 2 * count  # bytes, with the collector's
        nursery.cancel_scope.cancel()


class Spawned(trio.abc.Instrument):
    """Counts the tasks that are started."""

    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@pytest.mark.parametrize("cancel_handlers", [False, True])
@bounded()
async def test_a_stream_that_is_served_costs_one_task_also_if_its_handler_is_cancelled(
    cancel_handlers: bool, mock_clock: Clock
) -> None:
    async with quiet() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.serve_streams, answer, cancel_handlers=cancel_handlers))
        await wait_all_tasks_blocked()
        spawned = Spawned()
        trio.lowlevel.add_instrument(spawned)
        streams = [await client.open_stream() for _ in range(100)]
        for stream in streams:
            await ask(stream, 2)
        trio.lowlevel.remove_instrument(spawned)
        assert spawned.count == 100
        nursery.cancel_scope.cancel()

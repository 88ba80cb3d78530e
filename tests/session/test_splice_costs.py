"""What spliced traffic costs, counted and never timed, as in test_costs: wake-ups, system calls and copies."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxpy.proto._incoming import Incoming
from muxpy.session._poller import Poller
from muxpy.transport._socket import _read_buffer
from tests.helpers.splices import Joint, joint
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    import muxpy
    from muxpy.frame import Buffer

Clock: TypeAlias = trio.testing.MockClock

SMALL = bytes(100)
WINDOW = 64 * 1024
ENOUGH = 32
"""Small messages that are worth a write."""


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks by what they do; not those of the test."""

    def __init__(self) -> None:
        self._test = trio.lowlevel.current_task()
        self.poller = self.session = self.application = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == "muxpy poller":
            self.poller += 1
        elif "Background." in task.name:
            self.session += 1
        elif task is not self._test:
            self.application += 1

    def __enter__(self) -> Steps:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)


@asynccontextmanager
async def joints(count: int) -> AsyncIterator[list[Joint]]:
    """So many spliced sockets on one session, all of them asleep."""
    async with joint() as first:
        made = [await first.another() for _ in range(count)]
        for one in made:
            one.start()
        await wait_all_tasks_blocked()
        try:
            yield made
        finally:
            first.nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for one in made:
                    await one.aclose()


def say(one: Joint, message: bytes = SMALL) -> None:
    """Have the client of the socket send a message, and wait for nothing."""
    assert os.write(one.outer.socket.fileno(), message) == len(message)


def hear(one: Joint) -> int:
    """How many bytes have come to the client of the socket."""
    return len(os.read(one.outer.socket.fileno(), 1 << 20))


def writes_of(session: muxpy.Session) -> int:
    return session.statistics().writes


@contextmanager
def watched_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, list[Buffer]]]]:
    """The descriptor and the buffers of each write and writev."""
    written: list[tuple[int, list[Buffer]]] = []
    writev, write = os.writev, os.write

    def record(fd: int, buffers: list[Buffer]) -> int:
        written.append((fd, list(buffers)))
        return writev(fd, buffers)

    def record_plain(fd: int, data: Buffer) -> int:
        written.append((fd, [data]))
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", record)
        patch.setattr(os, "write", record_plain)
        yield written


# ---- from the sockets ----


@pytest.mark.parametrize("count", [1, 8, ENOUGH])
@bounded()
async def test_a_round_of_messages_from_many_sockets_is_one_wake_up_and_one_write(
    count: int, mock_clock: Clock
) -> None:
    rounds = 20
    async with joints(count) as made:
        server = made[0].server
        before = server.statistics()
        with Steps() as steps:
            for _ in range(rounds):
                for one in made:
                    say(one)
                await wait_all_tasks_blocked()
        after = server.statistics()
        assert after.frames_sent - before.frames_sent == rounds * count
        assert after.writes - before.writes == rounds
        assert steps.poller == rounds
        assert steps.application == 0
        # The peer's reader for each write, and the writer task that one message alone may leave it to: it looks, lets
        # others come together, and looks again.
        assert steps.session <= 6 * rounds
        assert all(one.peer._state.incoming.buffered == rounds * len(SMALL) for one in made)


@bounded()
async def test_more_sockets_than_a_write_takes_messages(mock_clock: Clock) -> None:
    """They are handled 64 at a time, and each write carries 32 messages."""
    count = 130
    async with joints(count) as made:
        before = writes_of(made[0].server)
        with Steps() as steps:
            for one in made:
                say(one)
            await wait_all_tasks_blocked()
        assert steps.poller == 3
        assert steps.application == 0
        assert writes_of(made[0].server) - before == 5
        assert all(one.peer._state.incoming.buffered == len(SMALL) for one in made)


@bounded()
async def test_what_is_large_is_sent_from_the_buffer_that_it_was_read_into(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joints(1) as [one]:
        with watched_writes(monkeypatch) as written:
            for _ in range(4):
                say(one, bytes(WINDOW))
                await wait_all_tasks_blocked()
                while one.peer._state.incoming.buffered:
                    await one.peer.receive_some()
                await wait_all_tasks_blocked()
        views = [piece for _, pieces in written for piece in pieces if isinstance(piece, memoryview)]
        buffers = {id(view.obj) for view in views if len(view) > 4096}
        assert len(buffers) == 1  # and the same one each time
        assert id(Poller.current().buffer.obj) in buffers


# ---- to the sockets ----


@pytest.mark.parametrize("count", [1, 8, ENOUGH])
@bounded()
async def test_bytes_for_sockets_wake_nobody_and_are_not_copied(
    count: int, mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write for each socket, of a view of the session's read buffer."""
    rounds = 20
    kept: Counter[int] = Counter()
    settle = Incoming.settle

    def keep(incoming: Incoming) -> int:
        count = settle(incoming)
        kept[id(incoming)] += count
        return count

    monkeypatch.setattr(Incoming, "settle", keep)
    async with joints(count) as made:
        server = made[0].server
        before = server.statistics()
        with watched_writes(monkeypatch) as written, Steps() as steps:
            for _ in range(rounds):
                for one in made:
                    one.client._engine.core.sending.submit_small(one.peer._state, SMALL)
                one.client._engine.writer.uncork()
                await wait_all_tasks_blocked()
        after = server.statistics()
        assert after.reads - before.reads == rounds
        assert after.data_received - before.data_received == rounds * count * len(SMALL)
        assert after.writes == before.writes
        assert steps.application == steps.poller == 0
        assert steps.session == rounds  # the reader, for each read
        sockets = {one.inner.socket.fileno() for one in made}
        mine = [pieces for fd, pieces in written if fd in sockets]
        assert len(mine) == rounds * count
        buffer = _read_buffer.get().obj
        assert all(isinstance(piece, memoryview) and piece.obj is buffer for pieces in mine for piece in pieces)
        assert not any(kept.values())
        assert [hear(one) for one in made] == [rounds * len(SMALL)] * count


@bounded()
async def test_bulk_for_a_socket_that_keeps_up_is_never_copied(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, kept = 40 * WINDOW, 0
    settle = Incoming.settle

    def keep(incoming: Incoming) -> int:
        nonlocal kept
        count = settle(incoming)
        kept += count
        return count

    async with joints(1) as [one]:
        monkeypatch.setattr(Incoming, "settle", keep)
        with Steps() as steps:
            for _ in range(size // WINDOW):
                one.client._engine.writer.send(one.peer._state, memoryview(bytes(WINDOW)))
                received = 0
                while received < WINDOW:
                    await wait_all_tasks_blocked()
                    received += hear(one)
        assert kept == 0
        assert steps.application == steps.poller == 0
        updates = one.server.statistics().window_updates_sent
        assert 0 < updates <= 2 * size // WINDOW  # half a window each


# ---- the whole way ----


class Functions:
    """Counts the functions of the library that are entered by each message, in the block."""

    def __init__(self) -> None:
        self.entered: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "/muxpy/" in frame.f_code.co_filename:
            self.entered[frame.f_code.co_name] += 1

    def __enter__(self) -> Functions:
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def for_each_of(self, messages: int) -> dict[str, int]:
        """Those that a message passes through, and how often. What a turn costs, whatever it carries, is left out."""
        return {name: count // messages for name, count in self.entered.items() if count >= messages}


FRAMED = {"submit_small": 1, "_frame_small": 1, "encode_data_header": 1}
TAKEN_APART = {"feed": 1, "_on_data": 1}


@bounded()
async def test_a_message_passes_through_few_functions(mock_clock: Clock) -> None:
    """From the socket to a frame, and from a frame to the socket. The other end is in this process too."""
    count, rounds = ENOUGH - 1, 10
    async with joints(count) as made:
        with Functions() as functions:
            for _ in range(rounds):
                for one in made:
                    say(one)
                await wait_all_tasks_blocked()
        here = {"_on_ready": 1, "_read": 1, "fd": 1, "send_small": 1, **FRAMED}
        there = {**TAKEN_APART, "settle": 1, "arrived": 1}
        assert functions.for_each_of(count * rounds) == here | there

        with Functions() as functions:
            for _ in range(rounds):
                for one in made:
                    one.client._engine.core.sending.submit_small(one.peer._state, SMALL)
                one.client._engine.writer.uncork()
                await wait_all_tasks_blocked()
        here = {**TAKEN_APART, "arrived": 2, "on_arrived": 1, "fd": 1, "pass_on": 1}  # at the window, and the splice
        assert functions.for_each_of(count * rounds) == here | FRAMED


@bounded()
async def test_an_echo_through_many_sockets_costs_few_writes(mock_clock: Clock) -> None:
    """At the spliced end, the answers of all sockets that the peer's messages set off go out together."""
    count, rounds = ENOUGH, 10
    async with joints(count) as made:
        before = writes_of(made[0].server)
        with Steps() as steps:
            for _ in range(rounds):
                for one in made:
                    one.client._engine.core.sending.submit_small(one.peer._state, SMALL)
                made[0].client._engine.writer.uncork()
                await wait_all_tasks_blocked()
                for one in made:
                    assert hear(one) == len(SMALL)
                    say(one)
                await wait_all_tasks_blocked()
                for one in made:
                    assert one.peer._state.incoming.buffered == len(SMALL)
                    one.client._engine.core.read(one.peer._state, None)
        assert writes_of(made[0].server) - before == rounds
        assert steps.poller == rounds
        assert steps.application == 0


@bounded()
async def test_idle_and_ended_sockets_cost_nothing(mock_clock: Clock) -> None:
    async with joints(8) as made:
        idle, *ended = made
        for one in ended:
            await one.outer.aclose()  # both its directions, which epoll would tell again and again
        await wait_all_tasks_blocked()
        with Steps() as steps:
            say(idle)
            await wait_all_tasks_blocked()
        assert steps.poller == 1
        assert steps.application == 0
        for one in ended:
            await one.peer.send_eof()
            assert await read_all(one.peer) == b""

"""When messages are written, and what goes wrong there."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.session._pacing import PATIENCE
from tests.helpers.pairs import session_pair, stream_pair, unix_pair
from tests.helpers.tasks import assert_echo, bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from muxpy.frame import Buffer

QUIET = muxpy.SessionConfig(heartbeat_interval=None)


class Writes:
    """What is given to os.writev and os.write, in place of them; `fail` makes one call fail, `most` writes a part."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fail: OSError | None = None
        self.most: int | None = None
        self._writev = os.writev

    def __call__(self, fd: int, chunks: Sequence[Buffer]) -> int:
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        if self.most is not None:
            chunks, self.most = [b"".join(chunks)[: self.most]], None
        self.sizes.append(sum(map(len, chunks)))
        return self._writev(fd, chunks)

    def one(self, fd: int, frame: Buffer) -> int:
        return self(fd, [frame])


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    calls = Writes()
    monkeypatch.setattr(os, "writev", calls)
    monkeypatch.setattr(os, "write", calls.one)
    return calls


@asynccontextmanager
async def quiet_sender(writes: Writes) -> AsyncIterator[muxpy.Stream]:
    """A stream of a session that has had nothing to write for a while."""
    one, two = unix_pair()
    async with (
        muxpy.open_session(one, client=True, config=QUIET) as client,
        muxpy.open_session(two, client=False, config=QUIET) as server,
    ):
        near, _ = await stream_pair(client, server)
        await trio.sleep(1)
        writes.sizes.clear()
        yield near
        client.kill()


@asynccontextmanager
async def lone_sender(writes: Writes) -> AsyncIterator[tuple[muxpy.Stream, muxpy.Stream]]:
    """A stream that has just received something, alone, and the other end."""
    one, two = unix_pair()
    async with (
        muxpy.open_session(one, client=True, config=QUIET) as client,
        muxpy.open_session(two, client=False, config=QUIET) as server,
    ):
        near, far = await stream_pair(client, server)
        await far.send_all(b"question")
        assert await near.receive_some() == b"question"
        await wait_all_tasks_blocked()
        writes.sizes.clear()
        yield near, far
        client.kill()
        server.kill()


@bounded()
async def test_messages_with_work_between_them_do_not_wait_for_each_other(
    writes: Writes, autojump_clock: trio.testing.MockClock
) -> None:
    """However few turns of the scheduler that work leaves: each is written before its send_all returns."""
    async with quiet_sender(writes) as near:
        for number in range(1, 11):
            await near.send_all(b"progress")
            assert sum(writes.sizes) == number * 16
            autojump_clock.jump(2 * PATIENCE)  # what works does not yield


@pytest.mark.parametrize("most", [0, 3, 8, 15])
@bounded()
async def test_what_of_a_lone_message_does_not_go_follows(writes: Writes, most: int) -> None:
    async with lone_sender(writes) as (near, far):
        if most:
            writes.most = most
        else:
            writes.fail = BlockingIOError()
        await near.send_all(b"progress")
        await near.send_all(b" goes on")
        received = b""
        while len(received) < 16:
            received += await far.receive_some()
        assert received == b"progress goes on"
        assert writes.sizes[: 2 if most else 1] == ([most, 16 - most] if most else [16])


@bounded()
async def test_an_error_that_hits_a_lone_message_ends_the_session(writes: Writes) -> None:
    async with lone_sender(writes) as (near, _):
        writes.fail = OSError(errno.ENOBUFS, "no buffers")
        with pytest.raises(muxpy.SessionClosed, match="no buffers"):
            await near.send_all(b"progress")


@bounded()
async def test_messages_at_once_come_together(writes: Writes, autojump_clock: trio.testing.MockClock) -> None:
    async with quiet_sender(writes) as near:
        for _ in range(100):
            await near.send_all(b"progress")
        await wait_all_tasks_blocked()
        assert sum(writes.sizes) == 100 * 16
        assert len(writes.sizes) <= 1 + 100 // 32 + 1  # the first, then 32 at a time, then what is left


@bounded()
async def test_an_error_that_does_not_come_again_ends_the_session_all_the_same(writes: Writes) -> None:
    """Bytes may be missing in the middle. It hits a sender while the writer task lets messages come together."""
    one, two = unix_pair()
    async with (
        muxpy.open_session(one, client=True, config=QUIET) as client,
        muxpy.open_session(two, client=False, config=QUIET) as server,
    ):
        near, _ = await stream_pair(client, server)
        for _ in range(3):
            await near.send_all(b"small")
        writes.fail = OSError(errno.ENOBUFS, "no buffers")
        with pytest.raises(muxpy.SessionClosed, match="no buffers"):
            await near.send_all(bytes(20_000))
        end = await client.wait()
        assert isinstance(end.error, OSError)
        server.kill()


@bounded()
async def test_a_writer_that_rests_is_there_again_when_it_is_needed() -> None:
    async with session_pair("memory", client_config=QUIET, server_config=QUIET) as (client, server):
        await assert_echo(client, server)
        await wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        for session in (client, server):
            session._engine.writer.rest()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks - 2
        await assert_echo(client, server)
        assert trio.lowlevel.current_statistics().tasks_living == tasks

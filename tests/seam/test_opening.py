"""Only the client opens streams, and no more than the peer takes: others wait."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import muxpy
from muxpy.proto import Opening
from muxpy.session._ending import Ending
from muxpy.session._opening import Openers
from muxpy.session._writer import Writer
from muxpy.transport import StreamTransport
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import Wakeups, assert_echo, bounded, cancel_at, moments, read_all

from .core import MAX_ID, SeamCore
from .framing import Settings
from .scene import core_of, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    End = Callable[[muxpy.Session, muxpy.Session], Awaitable[None]]
    StreamEnd = Callable[[muxpy.Stream, muxpy.Stream], Awaitable[None]]


@asynccontextmanager
async def full(most: int = 1) -> AsyncIterator[tuple[muxpy.Session, muxpy.Session, muxpy.Stream, muxpy.Stream]]:
    """A session with as many streams as the server takes, and both ends of the first of them."""
    config = muxpy.SessionConfig(max_streams=most)
    async with session_pair(server_config=config) as (client, server):
        near, far = await stream_pair(client, server)
        for _ in range(most - 1):
            await stream_pair(client, server)
        yield client, server, near, far
        client.kill()
        server.kill()


class OpenerTasks:
    """Tasks that open streams and keep them."""

    def __init__(self, session: muxpy.Session, nursery: trio.Nursery) -> None:
        self.opened: list[muxpy.Stream] = []
        self.failed: list[muxpy.SessionClosed] = []
        self._session = session
        self._nursery = nursery

    async def start(self, number: int = 1) -> None:
        """One after the other."""
        for _ in range(number):
            self._nursery.start_soon(self.open)
            await wait_all_tasks_blocked()

    async def open(self) -> None:
        try:
            self.opened.append(await self._session.open_stream())
        except muxpy.SessionClosed as error:
            self.failed.append(error)


async def reset_here(near: muxpy.Stream, far: muxpy.Stream) -> None:
    near.reset()


async def reset_there(near: muxpy.Stream, far: muxpy.Stream) -> None:
    far.reset()


async def finish_here_last(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await far.send_eof()
    await wait_all_tasks_blocked()
    await near.send_eof()


async def finish_there_last(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await near.send_eof()
    await wait_all_tasks_blocked()
    await far.send_eof()


async def close_here_last(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await far.aclose()
    await wait_all_tasks_blocked()
    await near.aclose()


@bounded()
async def test_nothing_is_opened_before_the_peer_takes_any(autojump_clock: MockClock) -> None:
    config = muxpy.SessionConfig(max_streams=0)
    async with session_pair(server_config=config) as (client, server), trio.open_nursery() as nursery:
        openers = OpenerTasks(client, nursery)
        await openers.start(3)
        assert openers.opened == []
        assert not client.going_away
        server.allow_streams(2)
        await wait_all_tasks_blocked()
        assert len(openers.opened) == 2
        server.allow_streams(3)
        await wait_all_tasks_blocked()
        assert len(openers.opened) == 3
        client.kill()


@bounded()
async def test_who_is_let_in_may_open_more(autojump_clock: MockClock) -> None:
    config = muxpy.SessionConfig(wants_login=True)
    async with session_pair(server_config=config) as (client, server), trio.open_nursery() as nursery:
        openers = OpenerTasks(client, nursery)
        await openers.start(3)
        assert len(openers.opened) == 1
        server.admit()
        await wait_all_tasks_blocked()
        assert len(openers.opened) == 3
        client.kill()


@pytest.mark.parametrize("end", [reset_here, reset_there, finish_here_last, finish_there_last, close_here_last])
@bounded()
async def test_a_stream_that_ends_makes_room(end: StreamEnd, autojump_clock: MockClock) -> None:
    async with full() as (client, server, near, far), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, read_all)
        openers = OpenerTasks(client, nursery)
        await openers.start(2)
        await end(near, far)
        await wait_all_tasks_blocked()
        assert len(openers.opened) == 1
        openers.opened[0].reset()
        await wait_all_tasks_blocked()
        assert len(openers.opened) == 2
        assert server.statistics().streams_refused == 0
        nursery.cancel_scope.cancel()


@bounded()
async def test_streams_are_opened_in_order_and_each_wakes_the_next_only(autojump_clock: MockClock) -> None:
    async with full() as (client, server, near, _), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, read_all)
        openers = OpenerTasks(client, nursery)
        await openers.start(50)
        counts = []
        for _ in range(3):
            with Wakeups() as steps:
                (openers.opened[-1] if openers.opened else near).reset()
                await wait_all_tasks_blocked()
            counts.append(steps.count)
        assert len(openers.opened) == 3
        assert max(counts) < 25
        settle(server, streams=10)
        await wait_all_tasks_blocked()
        assert len(openers.opened) == 12
        nursery.cancel_scope.cancel()


@bounded()
async def test_who_comes_as_a_place_is_free_waits_behind_who_came_before(autojump_clock: MockClock) -> None:
    for _ in range(20):  # Trio shuffles the tasks of a pass
        async with full() as (client, _, near, _), trio.open_nursery() as nursery:
            early, late = OpenerTasks(client, nursery), OpenerTasks(client, nursery)
            await early.start()
            nursery.start_soon(late.open)
            await trio.lowlevel.checkpoint()
            near.reset()
            await wait_all_tasks_blocked()
            assert (len(early.opened), len(late.opened)) == (1, 0)
            nursery.cancel_scope.cancel()


@bounded()
async def test_who_is_cancelled_leaves_its_place_to_the_next(autojump_clock: MockClock) -> None:
    for nth in moments():
        async with full() as (client, _, near, _), trio.open_nursery() as nursery:
            first, second = OpenerTasks(client, nursery), OpenerTasks(client, nursery)

            async def make_room(near: muxpy.Stream = near, second: OpenerTasks = second) -> None:
                await wait_all_tasks_blocked()
                await second.start()
                near.reset()

            nursery.start_soon(make_room)
            cancelled = await cancel_at(nth, first.open, any_task=True)
            await trio.sleep(1)
            assert len(first.opened) + len(second.opened) == 1, f"cancelled at {nth}"
            nursery.cancel_scope.cancel()
        if not cancelled:
            return


@bounded()
async def test_a_place_that_is_given_up_again_is_the_next_ones() -> None:
    """Its opener was woken for it, and then had to wait for a long queue to be written."""
    core = SeamCore(muxpy.SessionConfig(), client=True, clock=trio.current_time)
    transport, _ = memory_stream_pair()
    writer = Writer(StreamTransport(transport), core.sending, trio.current_time, None)
    openers = Openers(core, Ending(), writer, lambda: None, max_control_frames=16)
    opened: list[str] = []
    scope = trio.CancelScope()

    async def open_one(name: str) -> None:
        await openers.open(Opening(), fin=False)
        opened.append(name)

    async def open_first() -> None:
        with scope:
            await open_one("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_first)
        await wait_all_tasks_blocked()
        nursery.start_soon(open_one, "second")
        await wait_all_tasks_blocked()
        for _ in range(16):
            core.settle(core.said)
        core.theirs = Settings(streams=1)
        openers.wake()
        await wait_all_tasks_blocked()
        core.sending.outbox.empty()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert opened == ["second"]


async def goes_away(client: muxpy.Session, server: muxpy.Session) -> None:
    server.go_away()


async def announces(client: muxpy.Session, server: muxpy.Session) -> None:
    server.go_away(final=False)


async def is_closed_here(client: muxpy.Session, server: muxpy.Session) -> None:
    with trio.move_on_after(1):
        await client.aclose()


async def is_closed_there(client: muxpy.Session, server: muxpy.Session) -> None:
    await server.aclose()


async def is_killed_here(client: muxpy.Session, server: muxpy.Session) -> None:
    client.kill()


async def is_killed_there(client: muxpy.Session, server: muxpy.Session) -> None:
    server.kill()


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (goes_away, "the peer is going away"),
        (announces, "the peer is going away"),
        (is_closed_here, "this session is being closed"),
        (is_closed_there, "the peer is going away"),
        (is_killed_here, "the session has ended: this side killed it"),
        (is_killed_there, "without saying GOAWAY"),
    ],
)
@bounded()
async def test_who_waits_for_room_learns_that_none_comes(end: End, message: str, autojump_clock: MockClock) -> None:
    async with full() as (client, server, _, _), trio.open_nursery() as nursery:
        openers = OpenerTasks(client, nursery)
        await openers.start(3)
        nursery.start_soon(end, client, server)
        await wait_all_tasks_blocked()
        assert len(openers.failed) == 3
        for error in openers.failed:
            assert message in str(error)
            assert error.retryable


@bounded()
async def test_closing_does_not_wait_for_who_waits_for_room(autojump_clock: MockClock) -> None:
    async with full() as (client, server, near, _), trio.open_nursery() as nursery:
        openers = OpenerTasks(client, nursery)
        await openers.start()
        nursery.start_soon(client.aclose)
        await wait_all_tasks_blocked()
        near.reset()
        await wait_all_tasks_blocked()
        assert str(await client.wait()) == "this side closed it"
        assert server.statistics().streams_accepted == 1


@bounded()
async def test_the_other_side_opens_none_and_is_not_going_away(autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        with pytest.raises(RuntimeError, match="only the other side opens streams"):
            await server.open_stream()
        assert not server.going_away
        await assert_echo(client, server)
        client.go_away()
        await server.wait_going_away()
        assert server.going_away


@bounded()
async def test_ids_follow_each_other_until_they_are_used_up(autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        for number in (1, 2, 3):
            near, far = await stream_pair(client, server)
            assert near.id == far.id == number
            near.reset()
        await wait_all_tasks_blocked()
        for session in (client, server):
            core_of(session).last_id = MAX_ID - 1
        near, far = await stream_pair(client, server)
        assert near.id == far.id == MAX_ID
        with pytest.raises(muxpy.SessionGoingAway, match="used up"):
            await client.open_stream()
        assert client.going_away
        await near.aclose()
        await far.aclose()
        assert (await client.wait()).error is None


@bounded()
async def test_who_waits_for_room_learns_that_the_last_id_is_taken(autojump_clock: MockClock) -> None:
    async with full() as (client, server, near, _), trio.open_nursery() as nursery:
        for session in (client, server):
            core_of(session).last_id = MAX_ID - 1
        openers = OpenerTasks(client, nursery)
        await openers.start(3)
        near.reset()
        await wait_all_tasks_blocked()
        assert [stream.id for stream in openers.opened] == [MAX_ID]
        assert ["used up" in str(error) for error in openers.failed] == [True, True]


@bounded()
async def test_more_streams_than_the_peer_takes_are_refused(autojump_clock: MockClock) -> None:
    """A client that was not told yet."""
    async with full() as (client, server, _, _):
        core_of(client).theirs = core_of(client).theirs._replace(streams=2)
        with pytest.raises(muxpy.StreamReset) as caught:
            await (await client.open_stream()).receive_some()
        assert caught.value.retryable
        assert server.statistics().streams_refused == 1

"""Learning that a stream is over without using it: `Stream.wait_ended`, and handlers that are cancelled for it."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

import muxpy
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Action = Callable[[muxpy.Stream, muxpy.Stream], Awaitable[object]]
    Handler = Callable[[muxpy.Stream], Awaitable[object]]

Clock = trio.testing.MockClock


# ---- what ends a stream: done by this side (near) or the other (far) ----


async def peer_resets(near: muxpy.Stream, far: muxpy.Stream) -> None:
    far.reset(99)


async def peer_is_cancelled(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await trio.aclose_forcefully(far)


async def peer_breaks_a_rule(near: muxpy.Stream, far: muxpy.Stream) -> None:
    """Data for a stream that this side does not read is answered by a reset, but this side closed it itself."""
    await near.aclose()
    await far.send_all(b"late")


async def reset_here(near: muxpy.Stream, far: muxpy.Stream) -> None:
    near.reset()


async def closed_here(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await near.aclose()


async def both_finish(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await near.send_eof()
    await wait_all_tasks_blocked()
    await far.send_eof()


async def both_finish_this_side_last(near: muxpy.Stream, far: muxpy.Stream) -> None:
    await far.send_all(b"unread")
    await far.aclose()
    await wait_all_tasks_blocked()
    await near.send_eof()


async def killed_here(near: muxpy.Stream, far: muxpy.Stream) -> None:
    near.session.kill()


async def peer_kills(near: muxpy.Stream, far: muxpy.Stream) -> None:
    far.session.kill()


async def peer_closes_the_session(near: muxpy.Stream, far: muxpy.Stream) -> None:
    far.reset()
    await far.session.aclose()


ENDINGS = [
    (peer_resets, "stream {}: the peer reset it with error 99"),
    (peer_is_cancelled, "stream {}: the peer reset it with CANCEL"),
    (peer_breaks_a_rule, None),
    (reset_here, None),
    (closed_here, None),
    (both_finish, None),
    (both_finish_this_side_last, None),
    (killed_here, "the session has ended: this side killed it"),
    (peer_kills, "the session has ended: the peer closed the connection without saying GOAWAY"),
    (peer_closes_the_session, "stream {}: the peer reset it with CANCEL"),
]


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[muxpy.Stream, muxpy.Stream]]:
    """A stream's two ends, in sessions that are killed at the end."""
    async with session_pair("memory") as (client, server):
        yield await stream_pair(client, server)
        client.kill()
        server.kill()


@pytest.mark.parametrize(("action", "why"), ENDINGS)
@bounded()
async def test_whoever_waits_learns_of_every_end(action: Action, why: str | None, autojump_clock: Clock) -> None:
    told: list[str | None] = []

    async def wait(stream: muxpy.Stream) -> None:
        cut = await stream.wait_ended()
        told.append(None if cut is None else str(cut))

    async with joined() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(wait, near)
        nursery.start_soon(wait, near)
        await wait_all_tasks_blocked()
        assert told == []
        await action(near, far)
        await wait_all_tasks_blocked()
        expected = why and why.format(near.id)
        assert told == [expected] * 2
        with assert_checkpoints():
            await wait(near)  # and whoever comes later
        assert told == [expected] * 3


@pytest.mark.parametrize("finisher", ["near", "far"])
@bounded()
async def test_the_end_of_one_direction_is_not_the_end(finisher: str, autojump_clock: Clock) -> None:
    async with joined() as (near, far):
        await (near if finisher == "near" else far).send_eof()
        for stream in (near, far):
            with trio.move_on_after(60) as patience:
                await stream.wait_ended()
            assert patience.cancelled_caught
        other, reader = (far, near) if finisher == "near" else (near, far)
        await other.send_all(b"still here")
        await other.send_eof()
        assert await read_all(reader) == b"still here"
        assert await near.wait_ended() is None
        assert await far.wait_ended() is None


@bounded()
async def test_a_cancelled_wait_leaves_the_stream_and_other_waits_alone(autojump_clock: Clock) -> None:
    async with joined() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(near.wait_ended)
        with trio.move_on_after(1) as patience:
            await near.wait_ended()
        assert patience.cancelled_caught
        await near.send_all(b"on")
        assert await far.receive_some() == b"on"
        far.reset()
        assert isinstance(await near.wait_ended(), muxpy.StreamReset)


@bounded()
async def test_a_wait_that_is_cancelled_already_does_not_wait() -> None:
    async with joined() as (near, _):
        near.reset()
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.wait_ended()
        assert scope.cancelled_caught


@bounded()
async def test_a_stream_joined_to_a_socket_tells_of_its_end(way: str) -> None:
    near_socket, far_socket = (trio.SocketStream(trio.socket.from_stdlib_socket(s)) for s in socket.socketpair())
    async with joined() as (near, far), near_socket, far_socket, trio.open_nursery() as nursery:
        nursery.start_soon(near.splice, near_socket)
        await far_socket.send_eof()
        assert await read_all(far) == b""
        await far.send_all(b"last")
        await far.send_eof()
        assert await near.wait_ended() is None
        assert await read_all(far_socket) == b"last"


@bounded()
async def test_the_session_learns_which_of_many_streams_was_reset(autojump_clock: Clock) -> None:
    """More at once than are woken in one turn."""
    reset: list[int] = []

    async def wait(stream: muxpy.Stream) -> None:
        if await stream.wait_ended() is not None:
            reset.append(stream.id)

    async with session_pair("memory") as (client, server):
        pairs = [await stream_pair(client, server) for _ in range(200)]
        async with trio.open_nursery() as nursery:
            for near, _ in pairs:
                nursery.start_soon(wait, near)
            await wait_all_tasks_blocked()
            server.kill()
        assert sorted(reset) == [near.id for near, _ in pairs]


# ---- handlers ----


class Handling:
    """Serves a session with one kind of handler, and notes how each ended."""

    def __init__(self, work: Handler) -> None:
        self._work = work
        self.ended: list[str] = []
        self.returned = False

    async def serve(self, session: muxpy.Session, cancel_handlers: bool) -> None:
        with suppress(muxpy.SessionClosed):
            await session.serve_streams(self._handle, cancel_handlers=cancel_handlers)
        self.returned = True

    async def _handle(self, stream: muxpy.Stream) -> None:
        try:
            await self._work(stream)
        except trio.Cancelled:
            self.ended.append("cancelled")
            raise
        except trio.BrokenResourceError:
            self.ended.append("failed")
            raise
        self.ended.append("done")


async def compute(_: muxpy.Stream) -> None:
    await trio.sleep(60)


async def tidy_up(stream: muxpy.Stream) -> None:
    """Cancelled, it closes its stream, as `async with` does."""
    async with stream:
        await trio.sleep(60)


@pytest.mark.parametrize("work", [compute, tidy_up])
@pytest.mark.parametrize(
    ("action", "why"), [(action, why) for action, why in ENDINGS if action in (peer_resets, killed_here, peer_kills)]
)
@bounded()
async def test_a_handler_is_cancelled_when_its_stream_is_cut_short(
    work: Handler, action: Action, why: str, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "muxpy.session")
    handling = Handling(work)
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(handling.serve, server, True)
        far = await client.open_stream()
        await wait_all_tasks_blocked()
        if action is peer_resets:
            far.reset(99)
        else:
            (server if action is killed_here else client).kill()
        await wait_all_tasks_blocked()
        assert handling.ended == ["cancelled"]
        assert any(line.endswith(f"handler cancelled: {why.format(far.id)}") for line in caplog.messages)
        assert handling.returned == (action is not peer_resets)
        client.kill()
        server.kill()


@bounded()
async def test_a_handler_is_cancelled_when_the_session_ends_in_order(autojump_clock: Clock) -> None:
    handling = Handling(compute)
    config = muxpy.SessionConfig(drain_timeout=0)
    async with session_pair("memory", client_config=config) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(handling.serve, server, True)
        await client.open_stream()
        await wait_all_tasks_blocked()
        await client.aclose()
        await wait_all_tasks_blocked()
        assert handling.ended == ["cancelled"]
        assert handling.returned


@bounded()
async def test_without_being_asked_to_no_handler_is_cancelled(autojump_clock: Clock) -> None:
    handling = Handling(compute)
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(handling.serve, server, False)
        (await client.open_stream()).reset()
        await wait_all_tasks_blocked()
        assert handling.ended == []
        client.kill()
        server.kill()
    assert handling.ended == ["done"]


async def finish_and_go_on(stream: muxpy.Stream) -> None:
    assert await read_all(stream) == b""
    await stream.send_eof()
    await trio.sleep(60)


async def refuse_and_go_on(stream: muxpy.Stream) -> None:
    stream.reset(muxpy.ErrorCode.REFUSED_STREAM)
    await trio.sleep(60)


@pytest.mark.parametrize("work", [compute, finish_and_go_on, refuse_and_go_on])
@bounded()
async def test_no_handler_is_cancelled_for_an_end_in_order_or_one_of_its_own(
    work: Handler, autojump_clock: Clock
) -> None:
    handling = Handling(work)
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(handling.serve, server, True)
        stream = await client.open_stream()
        await stream.send_eof()
        await trio.sleep(61)
        assert handling.ended == ["done"]
        client.kill()
        server.kill()


@bounded()
async def test_a_handler_of_a_stream_that_was_reset_before_it_began_is_cancelled(autojump_clock: Clock) -> None:
    """Opened and reset in one write."""
    handling = Handling(compute)
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(handling.serve, server, True)
        await wait_all_tasks_blocked()
        (await client.open_stream()).reset()
        await wait_all_tasks_blocked()
        assert handling.ended == ["cancelled"]
        client.kill()
        server.kill()

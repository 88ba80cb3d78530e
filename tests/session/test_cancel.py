"""Each operation is cancelled at its first checkpoint, its second, and so on: the session stays usable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from tests.helpers.content import named
from tests.helpers.inside import assert_read, may_open
from tests.helpers.pairs import client_context, server_context, session_pair, stream_pair
from tests.helpers.tasks import assert_echo, bounded, cancel_at, echo, moments, read_all

Clock = trio.testing.MockClock

WINDOW = 65536


@dataclass
class Scene:
    """A session with one stream, for an operation and for what makes it complete."""

    client: muxpy.Session
    server: muxpy.Session
    near: muxpy.Stream
    far: muxpy.Stream
    taken: list[muxpy.Stream] = field(default_factory=list)

    async def clear(self) -> None:
        """End whatever the operation may have left open."""
        for stream in (self.near, self.far, *self.taken):
            stream.reset()
        await wait_all_tasks_blocked()
        for session in (self.client, self.server):
            while session.statistics().backlog:
                with trio.move_on_after(1):
                    (await session.accept_stream()).reset()
        await wait_all_tasks_blocked()


Part = Callable[[Scene], Awaitable[None]]


@asynccontextmanager
async def scene(kind: str) -> AsyncIterator[Scene]:
    async with session_pair(kind, client_extensions=[], server_extensions=[]) as (client, server):
        near, far = await stream_pair(client, server)
        await wait_all_tasks_blocked()
        yield Scene(client, server, near, far)


async def nothing(_: Scene) -> None:
    """The operation completes on its own."""


async def read_far(s: Scene) -> None:
    while await s.far.receive_some():
        pass


async def read_far_late(s: Scene) -> None:
    await wait_all_tasks_blocked()
    await read_far(s)


async def open_stream(s: Scene) -> None:
    s.taken.append(await s.client.open_stream())


async def dial(s: Scene) -> None:
    s.taken.append(await s.client.dial())


async def accept_stream(s: Scene) -> None:
    s.taken.append(await s.server.accept_stream())


async def listener_accept(s: Scene) -> None:
    s.taken.append(await s.server.listener().accept())


async def send_small(s: Scene) -> None:
    await s.near.send_all(b"small")


async def send_large(s: Scene) -> None:
    await s.near.send_all(bytes(WINDOW + 10_000))


async def wait_send(s: Scene) -> None:
    await s.near.wait_send_all_might_not_block()


async def fill_window_and_wait(s: Scene) -> None:
    if s.near._state.send_window:
        with trio.CancelScope(shield=True):
            await s.near.send_all(bytes(WINDOW))
    await s.near.wait_send_all_might_not_block()


async def receive_some(s: Scene) -> None:
    assert await s.near.receive_some() == b"data"


async def send_data(s: Scene) -> None:
    await wait_all_tasks_blocked()
    await s.far.send_all(b"data")


async def send_eof(s: Scene) -> None:
    await s.near.send_eof()


async def aclose(s: Scene) -> None:
    await s.near.aclose()


async def serve(s: Scene) -> None:
    await s.server.serve_streams(echo)


async def ask_and_go_away(s: Scene) -> None:
    async with await s.client.open_stream() as stream:
        s.taken.append(stream)
        await stream.send_all(b"ask")
        await stream.send_eof()
        assert await read_all(stream) == b"ask"
    s.server.go_away()


OPERATIONS: dict[str, tuple[Part, Part]] = {
    "open_stream": (open_stream, nothing),
    "dial": (dial, nothing),
    "accept_stream": (accept_stream, open_stream),
    "listener.accept": (listener_accept, open_stream),
    "send_all small": (send_small, nothing),
    "send_all large": (send_large, read_far),
    "send_all on a closed window": (send_large, read_far_late),
    "wait_send_all_might_not_block": (wait_send, nothing),
    "wait_send_all_might_not_block on a closed window": (fill_window_and_wait, read_far_late),
    "receive_some": (receive_some, send_data),
    "send_eof": (send_eof, nothing),
    "aclose": (aclose, nothing),
    "serve_streams": (serve, ask_and_go_away),
}


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("kind", ["memory", "wide_pipe", "unix"])
@pytest.mark.parametrize("name", OPERATIONS)
@bounded(100_000)
async def test_the_session_stays_usable(name: str, kind: str, any_task: bool, autojump_clock: Clock) -> None:
    operation, help_it = OPERATIONS[name]
    for nth in moments():
        async with scene(kind) as s:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(help_it, s)
                cancelled = await cancel_at(nth, partial(operation, s), any_task=any_task)
                nursery.cancel_scope.cancel()
            await s.clear()
            for session in (s.client, s.server):
                assert session.statistics().streams_open == 0, f"cancelled at {nth}"
            # serve_streams is ended by the server's go_away, after which only the server opens streams, if it does.
            for opener, acceptor in ((s.server, s.client), (s.client, s.server)):
                if may_open(opener):
                    await assert_echo(opener, acceptor)
            await wait_all_tasks_blocked()
            assert_read(s.client, s.server)
        if not cancelled:
            assert nth > 1, "an operation is a checkpoint"
            return


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("kind", ["memory", "pipe", "lockstep", "unix"])
@bounded(10_000)
async def test_a_cancelled_receive_loses_nothing(kind: str, any_task: bool, autojump_clock: Clock) -> None:
    payload = named("payload", 2000)
    for nth in moments():
        async with scene(kind) as s, trio.open_nursery() as nursery:

            async def send(stream: muxpy.Stream = s.far) -> None:
                await stream.send_all(payload)
                await stream.aclose()

            nursery.start_soon(send)
            received = bytearray()

            async def receive(stream: muxpy.Stream = s.near, received: bytearray = received) -> None:
                while part := await stream.receive_some(100):
                    received.extend(part)

            cancelled = await cancel_at(nth, receive, any_task=any_task)
            await receive()
            assert received == payload, f"cancelled at {nth}"
            await wait_all_tasks_blocked()
            assert_read(s.client, s.server)
        if not cancelled:
            return


@pytest.mark.parametrize("end", [False, True], ids=["more", "end"])
@pytest.mark.parametrize("reading", ["at once", "late"])
@pytest.mark.parametrize("kind", ["memory", "wide_pipe", "lockstep"])
@bounded(10_000)
async def test_a_cancelled_send_is_whole_or_reset_and_gives_its_buffer_back(
    kind: str, reading: str, end: bool, autojump_clock: Clock
) -> None:
    """Another stream sends at the same time: no frame of it is torn, and nothing of the buffer's next use is sent."""
    original = named("original", WINDOW + 3_000)
    other = named("other", 3_000)
    outcomes = set()
    for nth in moments():
        async with scene(kind) as s, trio.open_nursery() as nursery:
            near_other, far_other = await stream_pair(s.client, s.server)
            results: dict[str, bytes | None] = {}

            async def receive(
                name: str, stream: muxpy.Stream, late: bool, results: dict[str, bytes | None] = results
            ) -> None:
                if late:
                    await wait_all_tasks_blocked()
                try:
                    results[name] = await read_all(stream)
                except muxpy.StreamReset:
                    results[name] = None
                await stream.aclose()

            async def send_other(stream: muxpy.Stream = near_other) -> None:
                async with stream:
                    await stream.send_all(other)

            nursery.start_soon(receive, "cancelled", s.far, reading == "late")
            nursery.start_soon(receive, "other", far_other, False)
            nursery.start_soon(send_other)

            buffer = bytearray(original)
            cancelled = await cancel_at(nth, partial(s.near.send_all, buffer, end=end), any_task=True)
            buffer[:] = b"\xff" * len(buffer)
            buffer += b"resized"  # BufferError if anyone still holds a view
            buffer.clear()
            await s.near.aclose()
        assert results["other"] == other
        result = results["cancelled"]
        assert result is None or result == original, f"cancelled at {nth}: a part passed for the whole"
        outcomes.add(type(result))
        if not cancelled:
            assert outcomes == {bytes, type(None)}
            return


@bounded()
async def test_after_a_send_that_was_cut_short_the_stream_can_only_be_closed(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        with trio.move_on_after(1):
            await near.send_all(bytes(2 * WINDOW))
        with pytest.raises(trio.BrokenResourceError, match="was cancelled: the stream can only be closed"):
            await near.send_all(b"more")
        with pytest.raises(trio.BrokenResourceError):
            await near.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await near.wait_send_all_might_not_block()
        await far.send_all(b"receiving works")
        assert await near.receive_some() == b"receiving works"
        await near.aclose()
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(far)
        assert caught.value.code is muxpy.ErrorCode.CANCEL


@bounded()
async def test_closing_after_a_send_that_waited_in_vain_is_no_clean_end(autojump_clock: Clock) -> None:
    """Nothing of the second send was written, and still the peer must not take the first for the whole."""
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_all(bytes(WINDOW))
        with trio.move_on_after(1) as scope:
            await near.send_all(b"the end")
        assert scope.cancelled_caught
        await near.aclose()
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(far)
        assert caught.value.code is muxpy.ErrorCode.CANCEL


@bounded()
async def test_a_failed_send_gives_its_buffer_back_even_while_the_error_is_kept(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)

        async def reset() -> None:
            await wait_all_tasks_blocked()
            far.reset()

        nursery.start_soon(reset)
        buffer = bytearray(2 * WINDOW)
        with pytest.raises(muxpy.StreamReset) as caught:
            await near.send_all(buffer)
        buffer += b"resized"
        assert caught.value.by_peer
        with pytest.raises(muxpy.StreamReset) as caught:
            await near.send_all(buffer)
        buffer.clear()
        assert caught.tb is not None


@bounded()
async def test_closing_while_cancelled_resets(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        with trio.CancelScope() as scope:
            async with near:
                await near.send_all(b"part")
                scope.cancel()
                await trio.sleep_forever()
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(far)
        assert caught.value.code is muxpy.ErrorCode.CANCEL


@pytest.mark.parametrize("kind", ["memory", "pipe"])
@bounded(10_000)
async def test_waiting_for_the_end_may_be_cancelled(kind: str, autojump_clock: Clock) -> None:
    async with scene(kind) as s:
        assert await cancel_at(1, s.client.wait)
        await assert_echo(s.client, s.server)
        s.near.reset()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.aclose)
            assert not await cancel_at(6, s.client.wait)


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("kind", ["memory", "pipe"])
@bounded(10_000)
async def test_a_cancelled_aclose_of_a_session_ends_it_all_the_same(
    kind: str, any_task: bool, autojump_clock: Clock
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    for nth in moments():
        async with scene(kind) as s:
            s.near.reset()
            cancelled = await cancel_at(nth, s.client.aclose, any_task=any_task)
            with trio.fail_after(s.client.config.linger_timeout + 1):
                await s.client.wait()
                await s.server.wait()
            with pytest.raises(muxpy.SessionClosed):
                await s.client.open_stream()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        if not cancelled:
            return


@pytest.mark.parametrize("kind", ["memory", "pipe"])
@bounded(10_000)
async def test_a_block_cancelled_at_any_checkpoint_leaves_no_task(kind: str, autojump_clock: Clock) -> None:
    """Opening, using and leaving a session, cancelled anywhere."""
    tasks = trio.lowlevel.current_statistics().tasks_living

    async def use() -> None:
        async with session_pair(kind) as (client, server):
            await assert_echo(client, server)

    for nth in moments():
        cancelled = await cancel_at(nth, use, any_task=True)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        if not cancelled:
            return


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@bounded()
async def test_connecting_may_be_cancelled(secure: bool) -> None:
    sessions = 0

    async def handler(session: muxpy.Session) -> None:
        nonlocal sessions
        sessions += 1
        await session.serve_streams(echo)

    async def serve_here(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        context = server_context() if secure else None
        await muxpy.serve_tcp_sessions(handler, 0, host="127.0.0.1", ssl_context=context, task_status=task_status)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve_here)
        port = listener.socket.getsockname()[1]

        async def use() -> None:
            async with (
                muxpy.open_tcp_session("127.0.0.1", port, ssl_context=client_context() if secure else None) as session,
                await session.open_stream() as stream,
            ):
                await stream.send_all(b"hello")
                await stream.send_eof()
                assert await read_all(stream) == b"hello"

        for nth in moments():
            if not await cancel_at(nth, use):
                break
        await use()
        assert sessions >= 2
        nursery.cancel_scope.cancel()

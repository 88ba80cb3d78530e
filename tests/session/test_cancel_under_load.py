"""Each public operation is cancelled at its first checkpoint, its second, and so on, while ten other streams of the
session carry checked data: they do not notice, and nothing is left of what was cancelled."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.session._poller import Poller, has_poller
from tests.helpers.load import Load, assert_as_new, sparse
from tests.helpers.pairs import session_pair, stream_pair, unix_pair
from tests.helpers.tasks import bounded, cancel_at, echo, moments, read_all

pytestmark = pytest.mark.no_cover  # test_cancel goes the same ways without the load

WINDOW = 65536
CONFIG = muxpy.SessionConfig(max_streams=16, accept_backlog=16, heartbeat_interval=None)
"""Room for the load, ten streams in all, and for what an operation opens."""


@dataclass
class Scene:
    """A session under load, with a stream for the operation and a socket to splice that to."""

    client: muxpy.Session
    server: muxpy.Session
    near: muxpy.Stream
    far: muxpy.Stream
    inner: trio.SocketStream
    outer: trio.SocketStream
    taken: list[muxpy.Stream] = field(default_factory=list)
    enough: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Ends an operation that has no end of its own."""

    async def clear(self) -> None:
        """End whatever the operation may have left open."""
        for stream in (self.near, self.far, *self.taken):
            stream.reset()
        await trio.aclose_forcefully(self.inner)
        await trio.aclose_forcefully(self.outer)
        await wait_all_tasks_blocked()
        for session in (self.client, self.server):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reset_all, session)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()


Part = Callable[[Scene], Awaitable[None]]


async def reset_all(session: muxpy.Session) -> None:
    """Whatever nobody accepted."""
    with suppress(muxpy.SessionGoingAway):
        async for stream in session:
            stream.reset()


@asynccontextmanager
async def scene(kind: str) -> AsyncIterator[Scene]:
    async with session_pair(
        kind, client_config=CONFIG, server_config=CONFIG, client_extensions=[], server_extensions=[]
    ) as (client, server):
        if has_poller:
            Poller.current()  # its task is the run's, and begins with the first splice
        yield Scene(client, server, *(await stream_pair(client, server)), *unix_pair())


# ---- what helps an operation to complete ----


async def nothing(_: Scene) -> None:
    """The operation completes on its own."""


async def read_far(s: Scene) -> None:
    while await s.far.receive_some():
        pass


async def read_far_late(s: Scene) -> None:
    await wait_all_tasks_blocked()
    await read_far(s)


async def send_data(s: Scene) -> None:
    await trio.lowlevel.checkpoint()
    await s.far.send_all(b"data")


async def end_it_later(s: Scene) -> None:
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    s.enough.cancel()


async def ask_often(s: Scene) -> None:
    for _ in range(3):
        stream = await s.client.open_stream()
        s.taken.append(stream)
        await stream.send_all(bytes(20_000))
        await stream.send_eof()
        assert len(await read_all(stream)) == 20_000
    s.enough.cancel()


async def use_both_far_ends(s: Scene) -> None:
    async def send(sink: trio.abc.HalfCloseableStream) -> None:
        await sink.send_all(bytes(WINDOW + 5_000))
        await sink.send_eof()

    with suppress(BaseExceptionGroup):  # of a stream or socket whose splice was cancelled
        async with trio.open_nursery() as nursery:
            for end in (s.far, s.outer):
                nursery.start_soon(send, end)
                nursery.start_soon(read_all, end)


class OneByOne(muxpy.Pacer):
    """Everybody stands in line, and each pass of the scheduler has a turn for the first."""

    def __init__(self) -> None:
        self._line: dict[Callable[[], None], None] = {}
        self._turn: Callable[[], None] | None = None

    def allow(self, resume: Callable[[], None]) -> int:
        if self._turn == resume:
            self._turn = None
            return 10_000
        if not self._line:
            trio.lowlevel.spawn_system_task(self._serve)
        self._line[resume] = None
        return 0

    def carried(self, count: int) -> None:
        assert count

    def withdraw(self, resume: Callable[[], None]) -> None:
        self._line.pop(resume, None)

    async def _serve(self) -> None:
        while self._line:
            await trio.lowlevel.checkpoint()
            if self._line:
                self._turn = next(iter(self._line))
                del self._line[self._turn]
                self._turn()
                self._turn = None


# ---- the operations ----


async def open_stream(s: Scene) -> None:
    s.taken.append(await s.client.open_stream())


async def dial(s: Scene) -> None:
    s.taken.append(await s.client.dial())


async def accept_stream(s: Scene) -> None:
    s.taken.append(await s.server.accept_stream())


async def iterate_session(s: Scene) -> None:
    async for stream in s.server:
        s.taken.append(stream)
        break


async def listener_accept(s: Scene) -> None:
    s.taken.append(await s.server.listener().accept())


async def listener_aclose(s: Scene) -> None:
    await s.server.listener().aclose()


async def serve(s: Scene) -> None:
    with s.enough:
        await s.server.serve_streams(echo)


async def wait(s: Scene) -> None:
    with s.enough:
        await s.client.wait()


async def wait_going_away(s: Scene) -> None:
    with s.enough:
        await s.client.wait_going_away()


async def wait_closing(s: Scene) -> None:
    with s.enough:
        await s.client.wait_closing()


async def wait_ended(s: Scene) -> None:
    with s.enough:
        await s.near.wait_ended()


async def send_small(s: Scene) -> None:
    await s.near.send_all(b"small")


async def send_large(s: Scene) -> None:
    await s.near.send_all(bytes(WINDOW + 10_000))


async def wait_send(s: Scene) -> None:
    await s.near.wait_send_all_might_not_block()


async def fill_window_and_wait(s: Scene) -> None:
    with trio.CancelScope(shield=True):
        await s.near.send_all(bytes(WINDOW))
    await s.near.wait_send_all_might_not_block()


async def receive_some(s: Scene) -> None:
    assert await s.near.receive_some() == b"data"


async def iterate_stream(s: Scene) -> None:
    assert await anext(s.near) == b"data"


async def send_eof(s: Scene) -> None:
    await s.near.send_eof()


async def aclose(s: Scene) -> None:
    await s.near.aclose()


async def close_block(s: Scene) -> None:
    async with s.near as stream:
        await stream.send_all(b"in a block")


async def splice(s: Scene) -> None:
    await s.near.splice(s.inner)


async def splice_early(s: Scene) -> None:
    await s.near.splice(s.inner, early=bytes(300_000))


async def splice_paced(s: Scene) -> None:
    await s.near.splice(s.inner, early=bytes(5_000), pacer=OneByOne())


async def splice_head(s: Scene) -> None:
    await s.near.splice(s.inner, head=lambda data: data[10:])


OPERATIONS: dict[str, tuple[Part, Part, set[str]]] = {
    "open_stream": (open_stream, nothing, {"Session.open_stream"}),
    "dial": (dial, nothing, {"Session.dial"}),
    "accept_stream": (accept_stream, open_stream, {"Session.accept_stream"}),
    "session iteration": (iterate_session, open_stream, {"Session.__anext__"}),
    "listener.accept": (listener_accept, open_stream, {"SessionListener.accept"}),
    "listener.aclose": (
        listener_aclose,
        nothing,
        {"SessionListener.aclose", "SessionListener.__aenter__", "SessionListener.__aexit__"},
    ),
    "serve_streams": (serve, ask_often, {"Session.serve_streams"}),
    "wait": (wait, end_it_later, {"Session.wait"}),
    "wait_going_away": (wait_going_away, end_it_later, {"Session.wait_going_away"}),
    "wait_closing": (wait_closing, end_it_later, {"Session.wait_closing"}),
    "wait_ended": (wait_ended, end_it_later, {"Stream.wait_ended"}),
    "send_all small": (send_small, nothing, {"Stream.send_all"}),
    "send_all large": (send_large, read_far, {"Stream.send_all"}),
    "send_all on a closed window": (send_large, read_far_late, {"Stream.send_all"}),
    "wait_send": (wait_send, nothing, {"Stream.wait_send_all_might_not_block"}),
    "wait_send on a closed window": (
        fill_window_and_wait,
        read_far_late,
        {"Stream.wait_send_all_might_not_block"},
    ),
    "receive_some": (receive_some, send_data, {"Stream.receive_some"}),
    "stream iteration": (iterate_stream, send_data, {"Stream.__anext__"}),
    "send_eof": (send_eof, nothing, {"Stream.send_eof"}),
    "aclose": (aclose, nothing, {"Stream.aclose"}),
    "stream block": (close_block, nothing, {"Stream.__aenter__", "Stream.__aexit__"}),
    "splice": (splice, use_both_far_ends, {"Stream.splice"}),
    "splice early": (splice_early, use_both_far_ends, {"Stream.splice"}),
    "splice paced": (splice_paced, use_both_far_ends, {"Stream.splice"}),
    "splice head": (splice_head, use_both_far_ends, {"Stream.splice"}),
}
"""By name: the operation, what helps it, and the public names that this covers."""

ENDING = {"Session.aclose", "Session.__aenter__", "Session.__aexit__"}
"""What ends the session: see test_cancelled_ends."""


CARRYING = {"Session.connect_socket", "Session.forward_to", "Stream.forward_to"}
"""What takes sockets: see test_connect_socket and test_bind."""


def coroutine_methods(kind: type) -> set[str]:
    """The public ones, those behind `async for` and `async with` among them."""
    return {
        f"{kind.__name__}.{name}"
        for name, member in inspect.getmembers(kind, inspect.iscoroutinefunction)
        if not name.startswith("_") or name.startswith("__")
    }


def test_no_public_operation_is_missing_here() -> None:
    public = set().union(*map(coroutine_methods, (muxpy.Session, muxpy.Stream, muxpy.SessionListener)))
    covered = (ENDING | CARRYING).union(*(names for _, _, names in OPERATIONS.values()))
    assert covered == public


async def check(name: str, kind: str, steps: Iterator[int], *, any_task: bool) -> None:
    """Cancel the operation at all these moments, until it completes before."""
    operation, help_it, _ = OPERATIONS[name]
    for nth in steps:
        async with scene(kind) as s:
            load = Load()
            await load.open(s.client, s.server)
            await wait_all_tasks_blocked()
            tasks = trio.lowlevel.current_statistics().tasks_living
            async with trio.open_nursery() as loaded:
                loaded.start_soon(load.run)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(help_it, s)
                    cancelled = await cancel_at(nth, partial(operation, s), any_task=any_task)
                    nursery.cancel_scope.cancel()
            await s.clear()
            assert trio.lowlevel.current_statistics().tasks_living == tasks, f"cancelled at {nth}"
            await assert_as_new(s.client, s.server)
        if not cancelled:
            assert nth > 1, "an operation is a checkpoint"
            return


@pytest.mark.parametrize(("kind", "any_task"), [("wide_pipe", False), ("memory", True)], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("name", OPERATIONS)
@bounded()
async def test_the_others_do_not_notice(name: str, kind: str, any_task: bool) -> None:
    await check(name, kind, sparse() if any_task else moments(), any_task=any_task)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("name", OPERATIONS)
@bounded()
async def test_nor_do_they_over_real_connections(name: str, kind: str) -> None:
    await check(name, kind, moments(), any_task=False)


@pytest.mark.parametrize("kind", ["memory", "wide_pipe"])
@bounded()
async def test_a_handler_cancelled_at_any_checkpoint_takes_nobody_along(kind: str) -> None:
    """The handler's stream is whole or reset, the session goes on serving, and no place is lost."""
    for nth in moments():
        outcomes: list[bool] = []
        async with scene(kind) as s:
            load = Load()
            await load.open(s.client, s.server)

            async def handler(stream: muxpy.Stream, nth: int = nth, outcomes: list[bool] = outcomes) -> None:
                async def work() -> None:
                    async with stream:
                        await echo(stream)

                outcomes.append(await cancel_at(nth, work))

            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as loaded:
                    loaded.start_soon(load.run)
                    nursery.start_soon(s.server.serve_streams, handler)
                    for _ in range(3):
                        async with await s.client.open_stream() as stream:
                            await echoed_or_reset(stream)
                nursery.cancel_scope.cancel()
            await s.clear()
            await assert_as_new(s.client, s.server)
        if not any(outcomes):
            return


async def echoed_or_reset(stream: muxpy.Stream) -> None:
    try:
        await stream.send_all(bytes(WINDOW + 100))
        await stream.send_eof()
        assert await read_all(stream) == bytes(WINDOW + 100), "a part passed for the whole"
    except muxpy.StreamReset as reset:
        assert reset.code is muxpy.ErrorCode.CANCEL  # noqa: PT017 - either is right

"""A server of the library is shut down gracefully: `serve_tcp_sessions(stop=...)`."""

from __future__ import annotations

import socket
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from tests.helpers.content import named
from tests.helpers.pairs import client_context, server_context
from tests.helpers.tasks import LIMIT, bounded, read_all

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

HOST = "127.0.0.1"
BUSY_SESSIONS = 100
BUSY_TASKS = 3
WAITING = 20
MESSAGE = named("message", 5_120)
PATIENT = muxpy.SessionConfig(linger_timeout=LIMIT, drain_timeout=LIMIT)
"""However slow the machine: nothing here depends on time, since the clients answer."""
HASTY = muxpy.SessionConfig(linger_timeout=0, drain_timeout=LIMIT)
"""For clients that do not answer: there is no time for what they might have opened meanwhile."""


async def answer(stream: muxpy.Stream) -> None:
    """After the peer's EOF, so that a stream is open for some time."""
    await stream.send_all(await read_all(stream))


async def serve(session: muxpy.Session) -> None:
    await session.serve_streams(answer)


@asynccontextmanager
async def serving(
    handler: Callable[[muxpy.Session], Awaitable[object]] = serve,
    config: muxpy.SessionConfig = PATIENT,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[int, trio.Event, trio.Event]]:
    """A server: its port, what stops it, and what says that it has ended by itself."""
    stop, ended = trio.Event(), trio.Event()
    run = partial(muxpy.serve_tcp_sessions, handler, 0, host=HOST, config=config, ssl_context=ssl_context, stop=stop)

    async def server(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        await run(task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(server)
        yield listener.socket.getsockname()[1], stop, ended
        nursery.cancel_scope.cancel()


async def ask(session: muxpy.Session) -> None:
    await ask_on(await session.open_stream())


async def ask_on(stream: muxpy.Stream) -> None:
    async with stream:
        await stream.send_all(MESSAGE)
        await stream.send_eof()
        assert await read_all(stream) == MESSAGE


async def answer_goaway(session: muxpy.Session) -> None:
    """What docs/guide.md has a client do."""
    await session.wait_going_away()
    session.go_away(final=False)


class Client:
    """Opens streams, one after the other in each of some tasks, for as long as it may. None may fail."""

    def __init__(self) -> None:
        self.answered = 0
        self.busy = trio.Event()
        self.end: muxpy.SessionEnd | None = None

    async def run(self, port: int) -> None:
        async with muxpy.open_tcp_session(HOST, port, config=PATIENT) as session:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_goaway, session)
                for _ in range(BUSY_TASKS):
                    nursery.start_soon(self._ask, session)
            self.end = await session.wait()

    async def _ask(self, session: muxpy.Session) -> None:
        while True:
            try:
                stream = await session.open_stream()
            except muxpy.SessionClosed:
                return  # going away, or gone: nothing was begun
            await ask_on(stream)
            self.answered += 1
            self.busy.set()


@pytest.mark.no_cover  # a hundred times the same
@bounded()
async def test_a_hundred_busy_sessions_lose_no_stream() -> None:
    clients = [Client() for _ in range(BUSY_SESSIONS)]
    handled = 0

    async def count(stream: muxpy.Stream) -> None:
        nonlocal handled
        await answer(stream)
        handled += 1

    async def serve_and_count(session: muxpy.Session) -> None:
        await session.serve_streams(count)

    async with serving(serve_and_count) as (port, stop, ended), trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run, port)
        for client in clients:
            await client.busy.wait()
        stop.set()
        await ended.wait()
    assert handled == sum(client.answered for client in clients)
    for client in clients:
        assert client.end is not None
        assert (client.end.error, client.end.remote_code) == (None, muxpy.ErrorCode.NO_ERROR)


@bounded()
async def test_it_listens_no_more_while_open_streams_go_on_for_as_long_as_they_like() -> None:
    async with serving(config=HASTY) as (port, stop, ended), muxpy.open_tcp_session(HOST, port) as session:
        stream = await session.open_stream()
        await stream.send_all(MESSAGE)
        stop.set()
        await session.wait_going_away()
        with pytest.raises(muxpy.SessionGoingAway):
            await session.open_stream()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(HOST, port)
        assert not ended.is_set()
        await stream.send_eof()
        assert await read_all(stream) == MESSAGE
        await ended.wait()


@bounded()
async def test_a_peer_that_has_said_goaway_before_is_given_its_time_too() -> None:
    """It may open streams all the same. What it opens before it has read of the end is taken."""
    async with serving() as (port, stop, ended), muxpy.open_tcp_session(HOST, port) as session:
        session.go_away()
        await ask(session)  # so that the server knows
        stop.set()
        await session.wait_going_away()
        await session.aclose()
        await ended.wait()


@bounded()
async def test_a_server_without_sessions_ends_immediately() -> None:
    async with serving() as (_, stop, ended):
        stop.set()
        await ended.wait()


@bounded()
async def test_a_server_that_was_stopped_before_it_began_says_that_it_has_started() -> None:
    stop = trio.Event()
    stop.set()
    async with trio.open_nursery() as nursery:
        assert await nursery.start(partial(muxpy.serve_tcp_sessions, serve, 0, host=HOST, stop=stop))


@bounded()
async def test_the_deadline_is_the_caller_s() -> None:
    ends: list[str] = []

    async def never(session: muxpy.Session) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append("cancelled")

    with trio.CancelScope() as scope:
        async with serving(never, HASTY) as (port, stop, _), muxpy.open_tcp_session(HOST, port) as session:
            stop.set()
            await session.wait_going_away()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ends == ["cancelled"]


@bounded()
async def test_a_connection_that_was_accepted_before_and_is_a_session_only_after_is_served() -> None:
    async with serving(ssl_context=server_context()) as (port, stop, ended):
        slow = await trio.open_tcp_stream(HOST, port)
        async with muxpy.open_tcp_session(HOST, port, ssl_context=client_context()) as session:
            await ask(session)  # accepted later, so the other one was, too
            stop.set()
            await session.wait_going_away()
        async with (
            muxpy.open_session(
                slow, client=True, ssl_context=client_context(), server_hostname=HOST, config=PATIENT
            ) as session,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(answer_goaway, session)
            await ask(session)
            await session.wait_going_away()
        await ended.wait()


@bounded()
async def test_connections_that_wait_to_be_accepted_are_served() -> None:
    """They are connections to their clients already, with streams on their way."""
    async with serving() as (port, stop, ended):
        # As many sockets at once as take several passes to accept; the server has had no turn yet when it is stopped.
        sockets = [socket.create_connection((HOST, port)) for _ in range(WAITING)]
        stop.set()
        async with trio.open_nursery() as nursery:
            for connection in sockets:
                connection.setblocking(False)
                nursery.start_soon(ask_over, trio.SocketStream(trio.socket.from_stdlib_socket(connection)))
        await ended.wait()


async def ask_over(connection: trio.SocketStream) -> None:
    async with muxpy.open_session(connection, client=True, config=PATIENT) as session, trio.open_nursery() as nursery:
        nursery.start_soon(answer_goaway, session)
        await ask(session)


@bounded()
async def test_whoever_keeps_on_connecting_does_not_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy._running.MOST_WAITING", 5)
    async with serving(config=HASTY) as (port, stop, ended):
        with ExitStack() as sockets:
            stop.set()
            while connect_twice(port, sockets):  # more than it accepts in a pass
                await trio.lowlevel.checkpoint()
        await ended.wait()


def connect_twice(port: int, sockets: ExitStack) -> bool:
    """Whether somebody listens there."""
    try:
        for _ in range(2):
            sockets.enter_context(socket.create_connection((HOST, port)))
    except ConnectionRefusedError:
        return False
    return True

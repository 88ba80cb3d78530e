"""Sessions that are opened, used under load and closed, cancelled anywhere: no task and no descriptor is left, what
came is the beginning of what was sent, and the other side finds out."""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from tests.helpers.load import Load, held, no_more_than, nothing_left, sparse, until
from tests.helpers.pairs import client_context, server_context, session_pair, stream_pair, tcp_pair, unix_pair
from tests.helpers.tasks import LIMIT, bounded, cancel_at, echo, moments, read_all

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

CONFIG = muxpy.SessionConfig(drain_timeout=LIMIT, linger_timeout=0.2)


# ---- closing ----


async def aclose(session: muxpy.Session) -> None:
    await session.aclose()


async def announce(session: muxpy.Session) -> None:
    await session.aclose(announce=True)


async def answer(session: muxpy.Session) -> None:
    await session.wait_going_away()
    session.go_away(final=False)


async def leave_block(session: muxpy.Session) -> None:
    async with session:
        pass


@pytest.mark.no_cover  # many times the same
@pytest.mark.parametrize(
    ("kind", "any_task"),
    [("memory", False), ("wide_pipe", True), ("tcp", False), ("tls", True)],
    ids=["memory-own_steps", "wide_pipe-all_steps", "tcp-own_steps", "tls-all_steps"],
)
@pytest.mark.parametrize("close", [aclose, announce, leave_block])
@bounded()
async def test_a_close_cancelled_anywhere_ends_both_sides(
    close: Callable[[muxpy.Session], Awaitable[None]], kind: str, any_task: bool
) -> None:
    for nth in sparse() if any_task else moments():
        load = Load(tolerant=True)
        async with (
            nothing_left(),
            session_pair(kind, client_config=CONFIG, server_config=CONFIG) as (client, server),
            trio.open_nursery() as nursery,
        ):
            await load.open(client, server)
            nursery.start_soon(load.run)
            nursery.start_soon(answer, server)
            cancelled = await cancel_at(nth, partial(close, client), any_task=any_task)
            await client.wait()
            await server.wait()
        if not cancelled:
            assert load.whole == len(load.pairs), "a close that is not cancelled lets streams finish"
            return


# ---- from opening to closing ----


Pair = tuple[trio.SocketStream, trio.SocketStream]


async def over_a_transport(context: ssl.SSLContext | None, pair: Pair) -> None:
    """`open_session` on both sides, with TLS of its own if asked for. They own the sockets, and must close them."""
    one, two = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_one, two, server_context() if context else None)
        async with muxpy.open_session(
            one, client=True, ssl_context=context, server_hostname="127.0.0.1" if context else None, config=CONFIG
        ) as session:
            await ask(session)


async def serve_one(stream: trio.SocketStream, context: ssl.SSLContext | None) -> None:
    with suppress(trio.BrokenResourceError, OSError):  # of a client that was cancelled
        async with muxpy.open_session(stream, client=False, ssl_context=context, config=CONFIG) as session:
            await session.serve_streams(echo)


async def over_tcp(context: ssl.SSLContext | None, pair: Pair) -> None:
    """`serve_tcp_sessions` and `open_tcp_session`, which make their own connection."""
    for end in pair:
        end.socket.close()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_port, context)
        async with muxpy.open_tcp_session("127.0.0.1", port, ssl_context=context, config=CONFIG) as session:
            await ask(session)
        nursery.cancel_scope.cancel()


async def serve_port(context: ssl.SSLContext | None, task_status: trio.TaskStatus[int]) -> None:
    async def handler(session: muxpy.Session) -> None:
        await session.serve_streams(echo)

    async with trio.open_nursery() as nursery:
        serve = partial(
            muxpy.serve_tcp_sessions,
            handler,
            0,
            host="127.0.0.1",
            ssl_context=server_context() if context else None,
            config=CONFIG,
        )
        (listener,) = await nursery.start(serve)
        task_status.started(listener.socket.getsockname()[1])


async def ask(session: muxpy.Session) -> None:
    """Twenty echoes at once."""

    async def one(size: int) -> None:
        async with await session.open_stream() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(send, stream, size)
            assert await read_all(stream) == bytes(size)

    async def send(stream: muxpy.Stream, size: int) -> None:
        await stream.send_all(bytes(size))
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number * 4_000)


WAYS: dict[str, tuple[Callable[[ssl.SSLContext | None, Pair], Awaitable[None]], set[str]]] = {
    "open_session": (over_a_transport, {"open_session"}),
    "open_tcp_session": (over_tcp, {"open_tcp_session", "serve_tcp_sessions"}),
}


def test_no_public_way_to_a_session_is_missing_here() -> None:
    functions = {name: getattr(muxpy, name) for name in muxpy.__all__ if inspect.isfunction(getattr(muxpy, name))}
    waiting = {
        name
        for name, function in functions.items()
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(inspect.unwrap(function))
    }
    assert waiting == set().union(*(names for _, names in WAYS.values()))


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("name", WAYS)
@bounded()
async def test_whatever_is_cancelled_from_opening_to_closing_leaves_nothing(
    name: str, secure: bool, any_task: bool
) -> None:
    """The TLS handshake included, on both sides."""
    use, _ = WAYS[name]
    for nth in sparse() if any_task else moments():
        async with nothing_left():
            cancelled = await cancel_at(
                nth, partial(use, client_context() if secure else None, await tcp_pair()), any_task=any_task
            )
        if not cancelled:
            return


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@bounded()
async def test_a_listening_side_outlives_clients_that_are_cancelled(secure: bool) -> None:
    """In the handshake, too."""
    context = client_context() if secure else None
    async with nothing_left(), trio.open_nursery() as nursery:
        port = await nursery.start(serve_port, context)
        at_first = held()

        async def use() -> None:
            async with muxpy.open_tcp_session("127.0.0.1", port, ssl_context=context, config=CONFIG) as session:
                await ask(session)

        for nth in sparse():
            if not await cancel_at(nth, use, any_task=True):
                break
            await until(lambda: no_more_than(at_first))
        await use()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@bounded()
async def test_a_listening_side_that_is_cancelled_is_noticed(secure: bool) -> None:
    """At any step of anyone, the client's handshake included."""
    context = client_context() if secure else None
    for nth in sparse():
        async with nothing_left(), trio.open_nursery() as nursery:
            started = trio.Event()
            done = trio.Event()
            ports: list[int] = []

            async def serve(started: trio.Event = started, done: trio.Event = done, ports: list[int] = ports) -> None:
                async with trio.open_nursery() as inner:
                    ports.append(await inner.start(serve_port, context))
                    started.set()
                    await done.wait()
                    inner.cancel_scope.cancel()

            async def use(started: trio.Event = started, done: trio.Event = done, ports: list[int] = ports) -> None:
                await started.wait()
                with suppress(OSError, trio.BrokenResourceError):
                    try:
                        async with muxpy.open_tcp_session(
                            "127.0.0.1", ports[0], ssl_context=context, config=CONFIG
                        ) as session:
                            await ask(session)
                    except* (OSError, trio.BrokenResourceError):
                        pass
                done.set()

            nursery.start_soon(use)
            cancelled = await cancel_at(nth, serve, any_task=True)
            if not started.is_set():
                nursery.cancel_scope.cancel()
        if not cancelled:
            return


@pytest.mark.parametrize("way", ["poller", "copying"], indirect=True)
@bounded()
async def test_a_splice_that_is_cancelled_before_it_begins_is_no_clean_end(way: str) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        inner, outer = unix_pair()
        async with inner, outer:
            with trio.CancelScope() as scope:
                scope.cancel()
                await near.splice(inner)
            await near.aclose()
            with pytest.raises(muxpy.StreamReset) as caught:
                await read_all(far)
            assert caught.value.code is muxpy.ErrorCode.CANCEL

"""A session as a listener: its address, its end, and what becomes of streams that nobody takes any more."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import muxpy
from tests.helpers.pairs import session_pair, stream_pair, tcp_pair
from tests.helpers.tasks import assert_echo, bounded, echo, read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Taking = Callable[[muxpy.Session], Awaitable[object]]

Clock = trio.testing.MockClock


# ---- closing it ----


async def refused(session: muxpy.Session) -> bool:
    """Whether a new stream is refused; else it is left without an answer."""
    stream = await session.open_stream()
    with trio.move_on_after(60):
        cut = await stream.wait_ended()
        assert isinstance(cut, muxpy.StreamReset)
        assert cut.retryable
        return True
    stream.reset()
    return False


@bounded()
async def test_after_a_listener_was_closed_streams_are_refused(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        listener = server.listener()
        waiting = await client.open_stream()
        await wait_all_tasks_blocked()
        await listener.aclose()
        cut = await waiting.wait_ended()
        assert isinstance(cut, muxpy.StreamReset)
        assert cut.retryable
        assert await refused(client)
        await listener.aclose()
        assert await refused(client)
        assert server.statistics().streams_refused == 2  # those that were told before they were taken in
        assert server.statistics().heartbeat  # extensions have their streams all the same


@bounded()
async def test_a_cancelled_close_refuses_too(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, echo, [server.listener()])
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await refused(client)


@bounded()
async def test_streams_are_taken_while_another_listener_is_open(autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        first, second = server.listener(), server.listener()
        await first.aclose()
        assert not await refused(client)
        await wait_all_tasks_blocked()
        near = await client.open_stream()
        assert (await second.accept()).id == near.id
        await second.aclose()
        assert await refused(client)
        near.reset()


async def serve(session: muxpy.Session) -> None:
    with trio.move_on_after(1):
        await session.serve_streams(echo)


async def iterate(session: muxpy.Session) -> None:
    with trio.move_on_after(1):
        async for _ in session:
            pass


async def listen(session: muxpy.Session) -> None:
    session.listener()


@pytest.mark.parametrize("take", [serve, iterate, listen])
@bounded()
async def test_streams_are_taken_again_as_soon_as_somebody_takes_them(take: Taking, autojump_clock: Clock) -> None:
    async with session_pair() as (client, server):
        await server.listener().aclose()
        assert await refused(client)
        await take(server)
        await assert_echo(client, server)


@pytest.mark.parametrize("take", [serve, iterate])
@bounded()
async def test_a_listener_that_is_not_the_only_way_closes_nobody_else_s(take: Taking, autojump_clock: Clock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(take, server)
        await wait_all_tasks_blocked()
        await server.listener().aclose()
        stream = await client.open_stream()
        with trio.move_on_after(0.5) as patience:
            await stream.wait_ended()
        assert patience.cancelled_caught
        stream.reset()


@bounded()
async def test_a_stream_that_was_accepted_before_there_was_a_listener_makes_no_difference(
    autojump_clock: Clock,
) -> None:
    """Such as one on which the peer has logged in."""
    async with session_pair() as (client, server):
        await assert_echo(client, server)
        await server.listener().aclose()
        assert await refused(client)


# ---- the end of the session ----


@pytest.mark.parametrize("who", ["client", "server", "go_away"])
@bounded()
async def test_serving_a_listener_until_the_session_ends_as_the_guide_has_it(who: str, autojump_clock: Clock) -> None:
    answered: list[bytes] = []

    async def answer(stream: muxpy.Stream) -> None:
        async with stream:
            answered.append(await read_all(stream))
            await stream.send_all(b"done")

    async def serve(session: muxpy.Session) -> None:
        async with trio.open_nursery() as handlers:
            try:
                await trio.serve_listeners(answer, [session.listener()], handler_nursery=handlers)
            except* muxpy.SessionClosed:
                pass

    async with session_pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, server)
            stream = await client.open_stream()
            await wait_all_tasks_blocked()
            if who == "go_away":
                server.go_away()
            else:
                nursery.start_soon((client if who == "client" else server).aclose)
            await wait_all_tasks_blocked()
            await stream.send_all(b"busy")
            await stream.send_eof()
            assert await read_all(stream) == b"done"
            await stream.aclose()
        assert answered == [b"busy"]


# ---- addresses ----


@pytest.mark.parametrize("kind", ["memory", "ssl_stream", "tcp", "tls", "ssl_stream_tcp"])
@bounded()
async def test_a_listener_has_the_addresses_of_its_session(kind: str) -> None:
    async with session_pair(kind) as (client, server):
        listener = server.listener()
        assert listener.local_address == server.local_address == client.remote_address
        assert listener.remote_address == server.remote_address == client.local_address
        assert (listener.local_address is not None) == ("tcp" in kind or kind == "tls")


@pytest.mark.parametrize("socket_for", ["sending", "receiving", "both"])
@bounded()
async def test_two_streams_put_together_have_the_address_beneath(socket_for: str) -> None:
    near, far = await tcp_pair()
    pipe, _ = memory_stream_pair()
    stapled = trio.StapledStream(near if socket_for != "receiving" else pipe, near if socket_for != "sending" else pipe)
    async with near, far, muxpy.open_session(stapled, client=True, extensions=[]) as session:
        assert session.local_address == far.socket.getpeername()
        assert session.remote_address == far.socket.getsockname()
        session.kill()


@bounded()
async def test_a_session_over_a_stream_of_another_has_its_address() -> None:
    async with session_pair("tcp") as (client, server):
        near, far = await stream_pair(client, server)
        async with muxpy.open_session(near, client=True) as inner, muxpy.open_session(far, client=False) as other:
            assert inner.remote_address == other.local_address == server.local_address
            await assert_echo(inner, other)
            inner.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
@bounded()
async def test_an_abstract_name_is_text_and_no_control_character_in_a_log() -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("")  # the kernel chooses one
        listening.listen()
        name = listening.getsockname()
        connection = trio.socket.socket(trio.socket.AF_UNIX)
        await connection.connect(name)
        async with muxpy.open_session(trio.SocketStream(connection), client=True) as session:
            assert session.remote_address == name.decode()
            assert repr(session).isprintable()
            session.kill()

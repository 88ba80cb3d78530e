"""Every operation over a transport that holds 32 bytes in each direction: slow, but never a deadlock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from tests.helpers.content import named
from tests.helpers.inside import assert_read, may_open
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import assert_echo, bounded, echo, read_all

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk


@bounded()
async def test_every_operation(autojump_clock: Clock) -> None:
    async with session_pair("pipe") as (client, server):
        for opener, acceptor in ((client, server), (server, client)):
            if not may_open(opener):
                continue
            near = await opener.open_stream(priority=5, stream_type=6)
            far = await acceptor.accept_stream()
            await near.wait_send_all_might_not_block()
            await near.send_all(b"x" * 100)
            assert await far.receive_some(10) == b"x" * 10
            await near.send_eof()
            assert await read_all(far) == b"x" * 90
            await far.send_all(b"y" * 100)
            await far.aclose()
            assert await read_all(near) == b"y" * 100
            await near.aclose()

            (await opener.open_stream(fin=True)).reset()
            (await opener.dial()).reset()
            await wait_all_tasks_blocked()
            await assert_echo(opener, acceptor)
            await wait_all_tasks_blocked()
            assert_read(client, server)
        server.go_away(debug=b"more than the pipe can hold at once, by far")
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.SessionGoingAway):
            await client.open_stream()
        await client.aclose()
        assert (await server.wait()).error is None


@bounded()
async def test_large_transfers_both_ways_on_streams_of_both_sides(autojump_clock: Clock) -> None:
    payload = named("payload", 70_000)  # more than a window
    async with session_pair("pipe") as (client, server):
        received = []

        async def send(stream: muxpy.Stream) -> None:
            await stream.send_all(payload)
            await stream.send_eof()

        async def receive(stream: muxpy.Stream) -> None:
            received.append(await read_all(stream))

        async with trio.open_nursery() as nursery:
            for opener, acceptor in ((client, server), (server, client)):
                for stream in await stream_pair(opener, acceptor):
                    nursery.start_soon(send, stream)
                    nursery.start_soon(receive, stream)
        assert received == [payload] * 4
        await wait_all_tasks_blocked()
        assert_read(client, server)


@bounded()
async def test_many_streams_echo_at_once(autojump_clock: Clock) -> None:
    async with session_pair("pipe") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, echo)
        nursery.start_soon(client.serve_streams, echo)
        answers = 0
        asking = [session for session in (client, server) if may_open(session)]

        async def ask(session: muxpy.Session, number: int) -> None:
            nonlocal answers
            payload = bytes([number]) * (number * 37)
            async with await session.open_stream(priority=number) as stream, trio.open_nursery() as both:

                async def send() -> None:
                    await stream.send_all(payload)
                    await stream.send_eof()

                both.start_soon(send)
                assert await read_all(stream) == payload
            answers += 1

        async with trio.open_nursery() as askers:
            for number in range(30):
                for session in asking:
                    askers.start_soon(ask, session, number)
        assert answers == 30 * len(asking)
        await client.aclose()


@bounded()
async def test_resets_of_both_sides_in_the_middle_of_bulk(autojump_clock: Clock) -> None:
    async with session_pair("pipe") as (client, server):
        for number in range(4):
            near, far = await stream_pair(*((client, server) if number % 2 else (server, client)))

            async def send(stream: muxpy.Stream) -> None:
                with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
                    await stream.send_all(bytes(100_000))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, near)
                nursery.start_soon(send, far)
                while not (near._state.incoming.buffered > 500 and far._state.incoming.buffered > 500):
                    await trio.lowlevel.checkpoint()
                (near if number % 3 else far).reset()
        await assert_echo(client, server)


@bounded(600)
async def test_closing_both_sides_in_the_middle_of_bulk(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(drain_timeout=0)
    async with session_pair("pipe", client_config=config, server_config=config) as (client, server):
        near, far = await stream_pair(client, server)

        async def send(stream: muxpy.Stream) -> None:
            with pytest.raises(muxpy.SessionClosed):
                await stream.send_all(bytes(100_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, near)
            nursery.start_soon(send, far)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            nursery.start_soon(client.aclose)
            nursery.start_soon(server.aclose)

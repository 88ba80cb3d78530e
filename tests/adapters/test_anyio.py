"""Streams and sessions as AnyIO has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.streams.buffered
import pytest
import trio

import muxpy
from muxpy.adapters.anyio import ByteStream, Listener
from tests.helpers.content import COUNTED
from tests.helpers.load import nothing_left
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import bounded

from .page import run, shows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def echo(stream: ByteStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send(data)
        await stream.send_eof()


@shows("AnyIO")
@bounded()
async def test_both_ends() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run("AnyIO", 1, session=server, echo=echo))
        assert (await run("AnyIO", 0, session=client))["answer"] == b"hello"
        await client.aclose()  # which ends the listener


@bounded()
async def test_bulk_and_a_library_on_top() -> None:
    async with nothing_left(), session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(Listener(server).serve, echo)
        async with anyio.streams.buffered.BufferedByteStream(ByteStream(await client.open_stream())) as stream:
            async with trio.open_nursery() as sending:
                sending.start_soon(stream.send, COUNTED)
                assert await stream.receive_exactly(len(COUNTED)) == COUNTED
            await stream.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        await client.aclose()


@bounded()
async def test_errors_are_those_of_anyio() -> None:
    async with session_pair("memory") as (client, server):
        near, far = await stream_pair(client, server)
        one = ByteStream(near)

        async def fails(error: type[Exception], operation: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(error) as caught:
                await operation()
            assert caught.value.__cause__ is not None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.receive)
            await trio.testing.wait_all_tasks_blocked()
            await fails(anyio.BusyResourceError, one.receive)
            await far.send_all(b"x")
        await one.send_eof()
        await fails(anyio.ClosedResourceError, lambda: one.send(b"x"))
        far.reset()
        await trio.testing.wait_all_tasks_blocked()
        await fails(anyio.BrokenResourceError, one.receive)
        await one.aclose()
        await fails(anyio.ClosedResourceError, one.receive)


@bounded()
async def test_handlers_in_a_group_of_the_callers_go_on_after_the_listener() -> None:
    async with session_pair("memory") as (client, server), anyio.create_task_group() as tasks:
        listener = Listener(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, echo, tasks)
            stream = ByteStream(await client.open_stream())
            await stream.send(b"before")
            assert await stream.receive() == b"before"
            server.go_away()
        await stream.send(b"after")
        assert await stream.receive() == b"after"
        await stream.aclose()


@bounded()
async def test_a_session_that_breaks_is_an_error_of_the_listener_and_handlers_may_finish() -> None:
    finished = []

    async def work(stream: ByteStream) -> None:
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        await anyio.lowlevel.checkpoint()
        finished.append(stream)

    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await Listener(server).serve(work)
            assert isinstance(caught.value.__cause__, muxpy.SessionClosed)

        nursery.start_soon(serve)
        await client.open_stream()
        await trio.testing.wait_all_tasks_blocked()
        client.kill()
    assert len(finished) == 1


@bounded()
async def test_a_listener_that_is_closed() -> None:
    async with session_pair("memory") as (client, server), Listener(server) as listener:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await listener.serve(echo)

            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
        stream = ByteStream(await client.open_stream())
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()

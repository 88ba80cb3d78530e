"""The long link: exact bytes, the delay, the rate, and a queue with an end."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.link import Line, Link, carry
from benchmarks.pattern import PATTERN
from benchmarks.processes import serving
from benchmarks.serving import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"
LINK = Link(rtt=0.04, rate=20e6)


def test_a_line_carries_one_thing_after_another() -> None:
    line = Line(Link(rtt=0.1, rate=1000))

    assert line.arrival(100, now=5.0) == pytest.approx(5.15)
    assert line.arrival(100, now=5.0) == pytest.approx(5.25)
    assert line.arrival(100, now=9.0) == pytest.approx(9.15)


def test_a_line_has_room_once_no_more_than_its_buffer_waits() -> None:
    link = Link(rtt=0.1, rate=1e6)
    line = Line(link)

    line.arrival(round(link.buffer) + 1000, now=5.0)

    assert line.room() == pytest.approx(5.001)


@asynccontextmanager
async def linked(handler_link: Link = LINK) -> AsyncIterator[trio.SocketStream]:
    """A connection to an echo over the link."""
    async with trio.open_nursery() as nursery:
        (target,) = await nursery.start(partial(trio.serve_tcp, _serve, 0, host=HOST))
        forward = partial(carry, handler_link, target.socket.getsockname()[1])
        (near,) = await nursery.start(partial(trio.serve_tcp, forward, 0, host=HOST))
        async with await trio.open_tcp_stream(HOST, near.socket.getsockname()[1]) as stream:
            yield stream
        nursery.cancel_scope.cancel()


async def _serve(stream: trio.SocketStream) -> None:
    async with stream:
        await serve(stream)


async def test_every_byte_comes_through_in_both_directions_and_the_end_too() -> None:
    data = PATTERN * 10
    received = bytearray()
    async with linked() as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(b"e" + data)
            await stream.send_eof()

        nursery.start_soon(send)
        async for chunk in stream:
            received += chunk

    assert received == data


async def test_a_round_trip_takes_at_least_the_delay_and_the_line_at_least_its_time() -> None:
    async with linked() as stream:
        start = trio.current_time()
        await stream.send_all(b"e" + PATTERN)
        size = 0
        while size < len(PATTERN):
            size += len(await stream.receive_some())
        elapsed = trio.current_time() - start

    assert elapsed >= LINK.rtt + len(PATTERN) / LINK.rate


async def test_the_link_stops_taking_when_nobody_takes_from_it() -> None:
    sent = 0
    async with linked(Link(rtt=0.002, rate=1e9)) as stream:
        await stream.send_all(b"h")  # a server that never reads

        async def send() -> None:
            nonlocal sent
            while True:
                await stream.send_all(PATTERN)
                sent += len(PATTERN)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            before = -1
            while before < sent:
                before = sent
                await wait_all_tasks_blocked(0.05)  # longer than anything is on its way
            nursery.cancel_scope.cancel()

    assert sent > 0


async def test_the_program_says_where_it_listens_and_forwards() -> None:
    async with trio.open_nursery() as nursery:
        (target,) = await nursery.start(partial(trio.serve_tcp, _serve, 0, host=HOST))
        arguments = [str(target.socket.getsockname()[1]), "0.01", "1e9"]
        command = [sys.executable, "-m", "benchmarks.link", *arguments]
        async with serving(command) as link, await trio.open_tcp_stream(HOST, link["port"]) as stream:
            await stream.send_all(b"e" + b"hello")
            assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()

"""HTTP over a transport that holds 32 bytes in each direction: slow, but never a deadlock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from tests.helpers.content import named
from tests.helpers.inside import assert_read
from tests.helpers.tasks import bounded, read_all

from .ends import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

CONFIG = http.Config(extended_connect=True)
DATA = named("data", 70_000)  # more than a window


async def handler(exchange: http.Exchange) -> None:
    match exchange.request.path:
        case "/early":
            await exchange.respond(413, {}, DATA)
        case "/heads":
            for _ in range(10):
                await exchange.inform(103, {"link": "x" * 100})
            await exchange.respond(200, {"x-large": "y" * 5000}, b"", trailers={"x-large": "z" * 5000})
        case "/reset":
            await exchange.start(200)
            await exchange.send_all(DATA[:1000])
            exchange.reset(http.ErrorCode.ENHANCE_YOUR_CALM)
        case _:
            await exchange.start(200)
            async for chunk in exchange:
                await exchange.send_all(chunk)
            await exchange.finish(exchange.trailers or {})


@bounded()
async def test_every_operation(autojump_clock: Clock) -> None:
    async def body() -> AsyncIterator[bytes]:
        for start in range(0, 5_000, 500):
            yield DATA[start : start + 500]

    async with served(handler, "pipe", config=CONFIG) as client:
        assert await (await client.request("POST", "/", body=DATA[:3000])).read() == DATA[:3000]
        assert await (await client.request("POST", "/", body=body())).read() == DATA[:5000]
        stream = await client.open("POST", "/")
        await stream.send_all(b"abc")
        await stream.finish({"x-large": "t" * 1000})
        assert await stream.read() == b"abc"
        assert stream.trailers == {"x-large": "t" * 1000}
        statuses: list[int] = []
        large = await client.request("GET", "/heads", informed=lambda status, _: statuses.append(status))
        assert (await large.read(), statuses) == (b"", [103] * 10)
        assert large.trailers == {"x-large": "z" * 5000}
        async with client.tunnel("a:1") as tunnel:
            await tunnel.send_all(b"x" * 200, end=True)
            assert await read_all(tunnel) == b"x" * 200
        async with client.extended_connect("websocket", "/chat") as socket:
            await socket.send_all(b"y" * 200)
            assert len(await socket.receive_some()) > 0
        broken = await client.request("GET", "/reset")
        with pytest.raises(muxpy.StreamReset, match="ENHANCE_YOUR_CALM"):
            await broken.read()
        await client.session.ping()
        (await client.open("POST", "/")).reset()
        await wait_all_tasks_blocked()
        assert client.session.statistics().streams_open == 0
        assert_read(client.session)


@bounded()
async def test_large_bodies_both_ways_together(autojump_clock: Clock) -> None:
    async with served(handler, "pipe") as client, trio.open_nursery() as nursery:

        async def ask() -> None:
            assert await (await client.request("POST", "/", body=DATA)).read() == DATA

        for _ in range(4):
            nursery.start_soon(ask)


@bounded()
async def test_many_requests_together(autojump_clock: Clock) -> None:
    async with served(handler, "pipe", config=http.Config(max_streams=10)) as client, trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            data = bytes([number]) * (37 * number)
            while True:
                try:
                    response = await client.request("POST", "/", body=data)
                    assert await response.read() == data
                    return
                except muxpy.StreamReset as error:
                    if not error.retryable:
                        raise

        for number in range(40):
            nursery.start_soon(ask, number)


@bounded()
async def test_an_early_answer_in_the_middle_of_an_upload(autojump_clock: Clock) -> None:
    async with served(handler, "pipe") as client:
        response = await client.request("POST", "/early", body=DATA)
        assert response.status == 413
        assert await response.read() == DATA
        assert client.session.statistics().streams_open == 1
        await trio.sleep(3)  # the rest of the request has a second to come, and is not wanted after that
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_leaving_in_the_middle_of_bulk(autojump_clock: Clock) -> None:
    begun = trio.current_time()
    async with served(handler, "pipe") as client:
        response = await client.request("POST", "/", body=DATA)
        assert len(await response.receive_some()) > 0
    assert trio.current_time() - begun < client.session.config.drain_timeout + 2

"""Each operation of HTTP is cancelled at its first checkpoint, its second, and so on: the connection stays usable."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from tests.helpers.inside import assert_read
from tests.helpers.tasks import bounded, cancel_at, moments, read_all

from .ends import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Clock = trio.testing.MockClock

SIZE = 100_000  # more than a window
CONFIG = http.Config(extended_connect=True, max_streams=3)


@dataclass
class Scene:
    """A client, and an exchange that waits in its handler for a test to use it."""

    client: http.Client
    exchanges: dict[str, http.Exchange] = field(default_factory=dict)
    arrived: dict[str, trio.Event] = field(default_factory=dict)
    over: dict[str, trio.Event] = field(default_factory=dict)
    session: muxpy.Session | None = None

    async def exchange(self, path: str = "/") -> tuple[http.Response, http.Exchange]:
        """Both ends of one request."""
        self.arrived[path], self.over[path] = trio.Event(), trio.Event()
        response = await self.client.open("POST", path)
        await self.arrived[path].wait()
        return response, self.exchanges[path]


@asynccontextmanager
async def scene(kind: str) -> AsyncIterator[Scene]:
    scenes: list[Scene] = []

    async def handler(exchange: http.Exchange) -> None:
        the = scenes[0]
        assert isinstance(exchange.session, http.HttpSession)
        the.session = exchange.session
        path = exchange.request.path
        if path in the.arrived:
            the.exchanges[path] = exchange
            the.arrived[path].set()
            await the.over[path].wait()
        elif exchange.request.method == "CONNECT":
            await exchange.start(200)
            await exchange.send_all(await exchange.receive_some())
        else:
            body = b""
            try:
                await exchange.inform(103)
                body = await read_all(exchange)
            except trio.BrokenResourceError:
                return
            await exchange.respond(200, {}, body, trailers={"x-sum": str(len(body))})

    async with served(handler, kind, config=CONFIG) as client:
        scenes.append(Scene(client))
        assert (await client.request("GET")).status == 200
        await wait_all_tasks_blocked()
        yield scenes[0]


async def ask(s: Scene) -> None:
    response = await s.client.request("POST", "/", body=bytes(SIZE))
    assert len(await response.read()) == SIZE
    assert response.trailers == {"x-sum": str(SIZE)}


async def ask_shortly(s: Scene) -> None:
    await (await s.client.request("GET")).read()


async def ask_with_an_iterable(s: Scene) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            yield bytes(100)

    await (await s.client.request("POST", "/", body=body())).read()


async def ask_above_the_limit(s: Scene) -> None:
    """Some wait until there is room."""
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask_shortly, s)


async def tunnel(s: Scene) -> None:
    async with s.client.tunnel("a:1") as stream:
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"


async def extended(s: Scene) -> None:
    async with s.client.extended_connect("websocket") as stream:
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"


async def ping(s: Scene) -> None:
    await s.client.session.ping()


OPERATIONS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "request": ask,
    "request short": ask_shortly,
    "request iterable": ask_with_an_iterable,
    "request above the limit": ask_above_the_limit,
    "tunnel": tunnel,
    "extended": extended,
    "ping": ping,
}


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("kind", ["memory", "wide_pipe"])
@pytest.mark.parametrize("name", OPERATIONS)
@bounded(100_000)
async def test_of_clients(name: str, kind: str, any_task: bool, autojump_clock: Clock) -> None:
    for nth in moments():
        async with scene(kind) as s:
            cancelled = await cancel_at(nth, partial(OPERATIONS[name], s), any_task=any_task)
            await wait_all_tasks_blocked()
            await assert_usable(s)
        if not cancelled:
            assert nth > 1, "an operation is a checkpoint"
            return


async def assert_usable(s: Scene) -> None:
    """Nothing is left open at either end, and as many requests as ever can be made."""
    await trio.sleep(1)
    assert s.client.session.statistics().streams_open == 0
    assert s.session is not None
    assert s.session.statistics().streams_open == 0
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask, s)
    await wait_all_tasks_blocked()
    assert_read(s.client.session, s.session)


# ---- at the server ----


async def respond(exchange: http.Exchange) -> None:
    await exchange.respond(200, {}, b"body")


async def respond_large(exchange: http.Exchange) -> None:
    await exchange.respond(200, {}, bytes(SIZE))


async def respond_with_trailers(exchange: http.Exchange) -> None:
    await exchange.respond(200, {}, b"body", trailers={"a": "b"})


async def start_and_finish(exchange: http.Exchange) -> None:
    await exchange.start(200)
    await exchange.send_all(b"bo")
    await exchange.send_all(b"dy")
    await exchange.finish({"a": "b"})


async def start_and_end(exchange: http.Exchange) -> None:
    await exchange.start(200, {"content-length": "4"})
    await exchange.send_all(b"body")
    await exchange.send_eof()


async def inform_and_respond(exchange: http.Exchange) -> None:
    await exchange.inform(103)
    await exchange.respond(200, {}, b"body")


SERVING = [respond, respond_large, respond_with_trailers, start_and_finish, start_and_end, inform_and_respond]


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("kind", ["memory", "wide_pipe"])
@pytest.mark.parametrize("operation", SERVING, ids=lambda operation: str(operation.__name__))
@bounded(100_000)
async def test_of_exchanges(
    operation: Callable[[http.Exchange], Awaitable[None]], kind: str, any_task: bool, autojump_clock: Clock
) -> None:
    """The client gets the whole response or an error, never a part that looks like the whole."""
    for nth in moments():
        async with scene(kind) as s, trio.open_nursery() as nursery:
            response, exchange = await s.exchange("/here")
            got: list[bytes | None] = []

            async def receive(response: http.Response = response, got: list[bytes | None] = got) -> None:
                try:
                    await response.started()
                    got.append(await response.read() if response.status == 200 else None)
                except muxpy.StreamReset:
                    got.append(None)
                response.reset()

            nursery.start_soon(receive)
            cancelled = await cancel_at(nth, partial(operation, exchange), any_task=any_task)
            s.over["/here"].set()
            await wait_all_tasks_blocked()
            await trio.sleep(1)
            whole = bytes(SIZE) if operation is respond_large else b"body"
            assert got in ([whole], [None]), f"cancelled at {nth}: a part passed for the whole"
            assert cancelled or got == [whole]
            await assert_usable(s)
        if not cancelled:
            assert nth > 1 or operation is respond, "but for a small response, an operation is a checkpoint"
            return


@bounded()
async def test_a_small_response_is_not_sent_if_it_is_cancelled_already(autojump_clock: Clock) -> None:
    async with scene("memory") as s:
        _, exchange = await s.exchange("/here")
        with trio.CancelScope() as scope:
            scope.cancel()
            await exchange.respond(200, {}, b"body")
        assert scope.cancelled_caught
        assert exchange.answerable
        s.over["/here"].set()


@pytest.mark.parametrize("kind", ["memory", "pipe"])
@bounded(10_000)
async def test_blocks_that_are_cancelled_anywhere_leave_no_task(kind: str, autojump_clock: Clock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living

    async def use() -> None:
        async with scene(kind) as s:
            await ask_shortly(s)

    for nth in moments():
        cancelled = await cancel_at(nth, use, any_task=True)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        if not cancelled:
            return

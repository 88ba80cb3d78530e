"""Health: what the program says of its services reaches those who ask, and those who watch."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import trio
import trio.testing

from muxpy import rpc
from muxpy.rpc import HealthStatus
from tests.helpers.tasks import bounded

from .offered import offered

if TYPE_CHECKING:
    from collections.abc import Callable

SERVING, NOT_SERVING, UNKNOWN = HealthStatus.SERVING, HealthStatus.NOT_SERVING, HealthStatus.UNKNOWN


@bounded()
async def test_what_was_set_is_told() -> None:
    health = rpc.HealthService()
    async with offered(health) as (caller, _, _):
        asked = rpc.client(caller, rpc.Health)
        assert [await asked.check(), await asked.check("Calculator")] == [SERVING, UNKNOWN]
        health.set("Calculator", NOT_SERVING)
        health.set("", NOT_SERVING)
        assert [await asked.check(), await asked.check("Calculator")] == [NOT_SERVING, NOT_SERVING]


@bounded()
async def test_each_change_reaches_all_who_watch() -> None:
    health = rpc.HealthService()

    async def watch(tell: Callable[[HealthStatus], None]) -> None:
        async for status in rpc.client(caller, rpc.Health).watch("Calculator"):
            tell(status)

    seen: list[list[HealthStatus]] = [[], [], []]
    async with offered(health) as (caller, _, _), trio.open_nursery() as nursery:
        for told in seen:
            nursery.start_soon(watch, told.append)
        for status in (SERVING, SERVING, NOT_SERVING, UNKNOWN):
            await trio.testing.wait_all_tasks_blocked()
            health.set("Calculator", status)
            health.set("Other", status)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == 3 * [[UNKNOWN, SERVING, NOT_SERVING, UNKNOWN]]


@bounded()
async def test_a_state_that_did_not_last_is_left_out() -> None:
    health = rpc.HealthService()
    async with offered(health) as (caller, _, _), aclosing(rpc.client(caller, rpc.Health).watch()) as watched:  # type: ignore[type-var]
        assert await anext(watched) is SERVING
        await trio.testing.wait_all_tasks_blocked()
        for status in (NOT_SERVING, SERVING, UNKNOWN, NOT_SERVING):
            health.set("", status)
        assert await anext(watched) is NOT_SERVING


@bounded()
async def test_who_watches_does_not_keep_a_session_from_ending() -> None:
    async with offered(rpc.HealthService()) as (caller, server, over):
        watched = rpc.client(caller, rpc.Health).watch()
        assert await anext(watched) is SERVING
        server.go_away()
        assert [status async for status in watched] == []
        await over.wait()


@bounded()
async def test_who_stops_watching_leaves_nothing_behind() -> None:
    health = rpc.HealthService()
    async with offered(health) as (caller, server, _):
        await trio.testing.wait_all_tasks_blocked()
        before = server.statistics().streams_open
        async for _ in rpc.client(caller, rpc.Health).watch():
            break
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().streams_open == before
        health.set("", NOT_SERVING)


def test_it_can_be_set_before_anything_runs() -> None:
    health = rpc.HealthService()
    health.set("Calculator", SERVING)
    assert trio.run(health.check, "Calculator") is SERVING

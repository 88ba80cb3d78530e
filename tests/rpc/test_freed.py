"""A session over which calls went is freed when it has ended, and not left to the cycle collector."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxpy import rpc
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .services import Bench, Worker


@pytest.mark.parametrize("how", ["close", "kill"])
@bounded()
async def test_nothing_of_an_ended_session_is_kept(how: str) -> None:
    gc.disable()
    try:
        left = await call_and_end(how)
        await wait_all_tasks_blocked()
    finally:
        gc.enable()
    assert [name for name, reference in left.items() if reference() is not None] == []


async def call_and_end(how: str) -> dict[str, weakref.ref[object]]:
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, there, [Worker()])
        bench = rpc.client(here, Bench)
        assert await bench.add(1) == 2
        assert len(await bench.echo(bytes(10_000))) == 10_000
        assert [number async for number in bench.count(3)] == [0, 1, 2]
        assert await rpc.client(here, Bench, priority=1).add(1) == 2
        if how == "kill":
            nursery.cancel_scope.cancel()
            here.kill()
        await here.aclose()
    return {"here": weakref.ref(here), "there": weakref.ref(there)}

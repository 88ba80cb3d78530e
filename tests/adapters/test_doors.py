"""Forwarding as docs/adapters.md shows it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from tests.cli.program import Server, echo, free_port
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded, read_all

from .page import run, shows

if TYPE_CHECKING:
    from pathlib import Path


async def assert_echoed(near: trio.abc.HalfCloseableStream) -> None:
    async with near:
        await near.send_all(b"through both")
        await near.send_eof()
        assert await read_all(near) == b"through both"


@shows("A port or a path")
@bounded()
async def test_forwarding() -> None:
    port = free_port()
    async with Server(echo) as target, session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, "A port or a path", 0, {"8080": port}, session=client, trio=trio))
        nursery.start_soon(partial(run, "A port or a path", 1, {"80": target.port}, session=server))
        await wait_all_tasks_blocked()
        await assert_echoed(await trio.open_tcp_stream("127.0.0.1", port))
        nursery.cancel_scope.cancel()


@bounded()
async def test_forwarding_to_several_targets(tmp_path: Path) -> None:
    async with Server(echo) as target, session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        instead = {"6379": target.port, "/run/postgresql/": f"{tmp_path}/"}
        nursery.start_soon(partial(run, "A port or a path", 2, instead, session=server))
        async with client.bind(0, stream_type=1) as port:
            await assert_echoed(await trio.open_tcp_stream("127.0.0.1", port))
        nursery.cancel_scope.cancel()

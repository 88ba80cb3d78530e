"""Plain Trio, a TCP connection for each stream: what a program without a multiplexer would do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.serving import serve

from ._base import HOST, Client, Contender, Ports, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Tcp"]

BACKLOG: Final = 4096
"""Connections that wait to be accepted: a thousand together must not run into a retry of their SYN."""


async def serve_connection(stream: trio.SocketStream) -> None:
    async with stream:
        await serve(stream)


class Tcp(Contender):
    def missing(self) -> str | None:
        return None

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            listening = partial(trio.serve_tcp, serve_connection, 0, host=HOST, backlog=BACKLOG)
            task_status.started(report(await nursery.start(listening)))

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        yield Client(partial(trio.open_tcp_stream, HOST, port), port=port)

"""muxpy, used as its guide says, and four variations."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy
from benchmarks.serving import REPORT, serve

from ._base import HOST, Client, Contender, Ports, report
from .plain import Tcp
from .tls import client_context, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

__all__ = ["Muxpy", "MuxpyAccept", "MuxpyBeside", "MuxpyHeld", "MuxpyTls"]

CONFIG: Final = muxpy.SessionConfig(max_streams=200_000, accept_backlog=200_000)
"""The defaults, except for the number of streams: 100,000 must be open together where memory is measured."""


class Muxpy(Contender):
    """`serve_streams`: a task for each stream."""

    def missing(self) -> str | None:
        return None

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            listening = partial(
                muxpy.serve_tcp_sessions,
                self.handle,
                0,
                host=HOST,
                config=CONFIG,
                ssl_context=self.server_context(),
            )
            task_status.started(report(await nursery.start(listening)))

    async def handle(self, session: muxpy.Session) -> None:
        await session.serve_streams(serve)

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        async with muxpy.open_tcp_session(HOST, port, config=CONFIG, ssl_context=self.client_context()) as session:
            yield Client(session.open_stream, session)
            session.kill()  # the workload has its figures; do not wait for its idle streams to finish

    def server_context(self) -> ssl.SSLContext | None:
        return None

    def client_context(self) -> ssl.SSLContext | None:
        return None


class MuxpyAccept(Muxpy):
    """Streams accepted one by one, a task for each."""

    async def handle(self, session: muxpy.Session) -> None:
        async with trio.open_nursery() as nursery:
            async for stream in session:
                nursery.start_soon(_serve_and_close, stream)


class MuxpyHeld(Muxpy):
    """Streams accepted and kept, without a task for any but the reports: what a stream itself costs."""

    async def handle(self, session: muxpy.Session) -> None:
        held = []
        async with trio.open_nursery() as nursery:
            async for stream in session:
                if stream.stream_type == REPORT:
                    nursery.start_soon(_serve_and_close, stream)
                else:
                    held.append(stream)


class MuxpyBeside(Muxpy):
    """With a port for plain TCP in the same process, for comparisons in which only the connection differs."""

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            ports = await nursery.start(super().serve)
            beside = await nursery.start(Tcp().serve)
            task_status.started({**ports, "plain": beside["port"]})


class MuxpyTls(Muxpy):
    def server_context(self) -> ssl.SSLContext:
        return server_context()

    def client_context(self) -> ssl.SSLContext:
        return client_context()


async def _serve_and_close(stream: muxpy.Stream) -> None:
    async with stream:
        await serve(stream)

"""muxpy.rpc, over one session."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

import trio

import muxpy
from muxpy import rpc

from ._base import HOST, MESSAGE, Figures, Job, announce, with_trio


@rpc.service
class Bench(Protocol):
    async def echo(self, data: bytes) -> bytes: ...
    def subscribe(self, count: int) -> AsyncIterator[bytes]: ...


class Service(Bench):
    async def echo(self, data: bytes) -> bytes:
        return data

    async def subscribe(self, count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield MESSAGE


def serve() -> None:
    trio.run(_serve)


async def _serve() -> None:
    handler = partial(rpc.serve, services=[Service()])
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(muxpy.serve_tcp_sessions, handler, 0, host=HOST))
        announce(listeners[0].socket.getsockname()[1])


def run(port: int, job: Job) -> Figures:
    return trio.run(_run, port, job)


async def _run(port: int, job: Job) -> Figures:
    async with muxpy.open_tcp_session(HOST, port) as session:
        bench = rpc.client(session, Bench)
        return await with_trio(job, bench.echo, bench.subscribe)

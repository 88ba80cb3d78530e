"""grpcio's asyncio API, over one channel. Handlers and stubs take bytes as they are, without protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import uvloop

from ._base import HOST, MESSAGE, announce, with_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._base import Figures, Job


async def _echo(request: bytes, context: object) -> bytes:
    return request


async def _subscribe(request: bytes, context: object) -> AsyncIterator[bytes]:
    for _ in range(int(request)):
        yield MESSAGE


def serve() -> None:
    uvloop.run(_serve())


async def _serve() -> None:
    server = grpc.aio.server()
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(_echo),
        "Subscribe": grpc.unary_stream_rpc_method_handler(_subscribe),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bench", handlers),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    announce(port)
    await server.wait_for_termination()


def run(port: int, job: Job) -> Figures:
    return uvloop.run(_run(port, job))


async def _run(port: int, job: Job) -> Figures:
    async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        subscribe = channel.unary_stream("/Bench/Subscribe")
        return await with_asyncio(job, channel.unary_unary("/Bench/Echo"), lambda count: subscribe(b"%d" % count))

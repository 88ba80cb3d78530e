"""pycapnp, Cap'n Proto's RPC, over one connection. It has asyncio's own loop, since with uvloop its server crashes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import capnp

from ._base import HOST, MESSAGE, announce, with_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._base import Figures, Job

INCLUDED: Final = str(Path(capnp.__file__).parent.parent)
"""Where the schema's import of capnp/stream.capnp leads."""

schema: Any = capnp.load(str(Path(__file__).with_name("bench.capnp")), imports=[INCLUDED])

QUEUED: Final = 1024
"""Messages that wait at the receiver before it holds up the sender."""


class Service(schema.Bench.Server):  # type: ignore[misc] # made from the schema
    async def echo(self, data: bytes, **_: object) -> bytes:
        return data

    async def subscribe(self, count: int, receiver: Any, **others: object) -> None:  # noqa: ANN401 - made from the schema
        for _ in range(count):
            await receiver.push(MESSAGE)
        await receiver.done()


class Receiver(schema.Receiver.Server):  # type: ignore[misc] # made from the schema
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED)

    async def push(self, data: bytes, **_: object) -> None:
        await self.queue.put(data)

    async def done(self, **_: object) -> None:
        await self.queue.put(None)


def serve() -> None:
    asyncio.run(capnp.run(_serve()))


async def _serve() -> None:
    server = await capnp.AsyncIoStream.create_server(_on_connection, HOST, 0)
    async with server:
        announce(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def _on_connection(stream: Any) -> None:  # noqa: ANN401 - has no types
    await capnp.TwoPartyServer(stream, bootstrap=Service()).on_disconnect()


def run(port: int, job: Job) -> Figures:
    figures: Figures = asyncio.run(capnp.run(_run(port, job)))
    return figures


async def _run(port: int, job: Job) -> Figures:
    client = capnp.TwoPartyClient(await capnp.AsyncIoStream.create_connection(HOST, port))
    bench = client.bootstrap().cast_as(schema.Bench)

    async def echo(data: bytes) -> bytes:
        answer: bytes = (await bench.echo(data)).data
        return answer

    async def subscribe(count: int) -> AsyncIterator[bytes]:
        receiver = Receiver()
        call = bench.subscribe(count, receiver)
        while (message := await receiver.queue.get()) is not None:
            yield message
        await call

    return await with_asyncio(job, echo, subscribe)

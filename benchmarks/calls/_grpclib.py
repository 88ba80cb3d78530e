"""grpclib, gRPC in Python on asyncio, over one channel. A codec takes bytes as they are, without protobuf."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import uvloop
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from ._base import HOST, MESSAGE, announce, with_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpclib.server import Stream

    from ._base import Figures, Job


class Bytes(CodecBase):
    __content_subtype__ = "bytes"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ANN401 - as in its base
        encoded: bytes = message
        return encoded

    def decode(self, data: bytes, message_type: Any) -> Any:  # noqa: ANN401 - as in its base
        return data


class Service:
    async def echo(self, stream: Stream[bytes, bytes]) -> None:
        request = await stream.recv_message()
        assert request is not None
        await stream.send_message(request)

    async def subscribe(self, stream: Stream[bytes, bytes]) -> None:
        request = await stream.recv_message()
        assert request is not None
        for _ in range(int(request)):
            await stream.send_message(MESSAGE)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/Bench/Echo": Handler(self.echo, Cardinality.UNARY_UNARY, bytes, bytes),
            "/Bench/Subscribe": Handler(self.subscribe, Cardinality.UNARY_STREAM, bytes, bytes),
        }


def serve() -> None:
    uvloop.run(_serve())


async def _serve() -> None:
    server = Server([Service()], codec=Bytes())
    listener = socket.create_server((HOST, 0))
    await server.start(sock=listener)
    announce(listener.getsockname()[1])
    await server.wait_closed()


def run(port: int, job: Job) -> Figures:
    return uvloop.run(_run(port, job))


async def _run(port: int, job: Job) -> Figures:
    async with Channel(HOST, port, codec=Bytes()) as channel:
        many = UnaryStreamMethod(channel, "/Bench/Subscribe", bytes, bytes)

        async def subscribe(count: int) -> AsyncIterator[bytes]:
            async with many.open() as stream:
                await stream.send_message(b"%d" % count, end=True)
                async for message in stream:
                    yield message

        return await with_asyncio(job, UnaryUnaryMethod(channel, "/Bench/Echo", bytes, bytes), subscribe)

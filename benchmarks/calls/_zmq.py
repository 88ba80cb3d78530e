"""ZeroMQ with msgspec: calls with ids from a DEALER to a ROUTER, and a task for each call at the server, as the
libraries for calls have it. It has no streams of its own that would hold up a sender."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import uvloop
import zmq
import zmq.asyncio

from ._base import HOST, announce, with_asyncio

if TYPE_CHECKING:
    from ._base import Figures, Job


class Request(msgspec.Struct, array_like=True):
    id: int
    method: str
    data: bytes


class Answer(msgspec.Struct, array_like=True):
    id: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Service:
    async def echo(self, data: bytes) -> bytes:
        return data


def serve() -> None:
    uvloop.run(_serve())


async def _serve() -> None:
    router = zmq.asyncio.Context().socket(zmq.ROUTER)
    announce(router.bind_to_random_port(f"tcp://{HOST}"))
    service = Service()

    async def answer(peer: bytes, body: bytes) -> None:
        request = _decode_request(body)
        result = await getattr(service, request.method)(request.data)
        await router.send_multipart([peer, _encode(Answer(request.id, result))])

    async with asyncio.TaskGroup() as tasks:
        while True:
            peer, body = await router.recv_multipart()
            tasks.create_task(answer(peer, body))


def run(port: int, job: Job) -> Figures:
    return uvloop.run(_run(port, job))


async def _run(port: int, job: Job) -> Figures:
    dealer = zmq.asyncio.Context().socket(zmq.DEALER)
    dealer.connect(f"tcp://{HOST}:{port}")
    loop = asyncio.get_running_loop()
    ids = count()
    pending: dict[int, asyncio.Future[bytes]] = {}

    async def read() -> None:
        while True:
            answer = _decode_answer(await dealer.recv())
            pending.pop(answer.id).set_result(answer.data)

    async def echo(data: bytes) -> bytes:
        number = next(ids)
        pending[number] = future = loop.create_future()
        await dealer.send(_encode(Request(number, "echo", data)))
        answer: bytes = await future
        return answer

    reader = asyncio.create_task(read())
    figures = await with_asyncio(job, echo)
    reader.cancel()
    dealer.close(0)
    return figures

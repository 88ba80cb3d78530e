"""Target: the answering end of calls. The input says what a peer sends on which streams. When the streams are reset, no
handler runs, nothing is kept, and calls are answered as before."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - of a service
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import rpc
from muxpy.rpc._endpoint import endpoint_of
from muxpy.rpc._reading import MAX_UNFINISHED
from muxpy.rpc._wire import HEADER, Kind, StreamType, pack
from tests.helpers.pairs import session_pair

from .rpc_peer import Peer, play
from .script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run"]


class Service:
    """What is served."""

    def __init__(self) -> None:
        self.running = 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def echo(self, data: bytes) -> bytes:
        return data

    async def large(self, size: int) -> bytes:
        with self._counted():
            return bytes(size % 100_000)

    async def wait(self) -> None:
        with self._counted():
            await trio.sleep_forever()

    async def fail(self) -> None:
        raise rpc.Error("it fails", details=[1, 2])

    async def total(self, numbers: AsyncIterable[int]) -> int:
        with self._counted():
            return sum([number async for number in numbers]) % 1000

    async def count(self, to: int) -> AsyncIterator[int]:
        with self._counted():
            for number in range(to % 1000):
                yield number

    async def double(self, numbers: AsyncIterable[int]) -> AsyncIterator[int]:
        with self._counted():
            async for number in numbers:
                yield number % 1000 * 2

    async def read(self, body: muxpy.Stream) -> int:
        with self._counted():
            try:
                return sum([len(data) async for data in body])
            except trio.BrokenResourceError:
                return -1

    async def give(self) -> muxpy.Stream:
        return await rpc.stream(cast("muxpy.Session", rpc.current_call().session), send)


async def send(stream: muxpy.Stream) -> None:
    """What is in the streams that are given."""
    await stream.send_all(b"given")


def run(data: bytes) -> None:
    """Play the script, then reset all streams and see that nothing is left."""
    play(main, Script(data))


async def main(script: Script) -> None:
    """The session, and a peer that does what the script says."""
    service = Service()
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, [service]))
        peer = Peer(client, script)
        while script:
            await peer.step()
        await peer.leave()
        await trio.sleep(30)  # for streams that nobody has named
        assert service.running == 0, "a handler runs for nobody"
        endpoint = endpoint_of(server)
        assert endpoint.budget._left == MAX_UNFINISHED, "bytes are kept for nobody"
        assert not endpoint.raw._raw
        assert not endpoint._shared
        await answered(client)
        nursery.cancel_scope.cancel()


async def answered(session: muxpy.Session) -> None:
    """A call is answered, on a stream of either kind."""
    body = msgspec.msgpack.encode(["Service.echo", [b"still here"]])
    for kind in (StreamType.SHARED, StreamType.CALL):
        stream = await session.open_stream(stream_type=kind)
        await stream.send_all(pack(Kind.CALL, 7, body), end=True)
        received = b"".join([data async for data in stream])
        answer = received[HEADER.size :] if kind == StreamType.SHARED else received  # after its CREDIT
        call_id = 7 if kind == StreamType.SHARED else 0
        assert answer == pack(Kind.RESULT, call_id, msgspec.msgpack.encode(b"still here"))
    await wait_all_tasks_blocked()

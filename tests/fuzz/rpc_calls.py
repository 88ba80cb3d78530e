"""Target: the calling end. The input says which calls are made and given up, and what the other side sends. Each call
ends with what its method gives or with an rpc.Error, and when the session has ended, nothing waits."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - of a service
from typing import TYPE_CHECKING, Any, Protocol

import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import rpc
from muxpy.rpc._endpoint import endpoint_of
from muxpy.rpc._reading import MAX_UNFINISHED
from tests.helpers.pairs import session_pair

from .rpc_peer import Peer, play
from .script import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["run"]

MOST_CALLS = 200


@rpc.service
class Service(Protocol):
    """What is called."""

    async def echo(self, data: bytes) -> bytes: ...
    async def total(self, numbers: AsyncIterable[int]) -> int: ...
    def count(self, to: int) -> AsyncIterator[int]: ...
    def double(self, numbers: AsyncIterable[int]) -> AsyncIterator[int]: ...
    async def give(self) -> muxpy.Stream: ...


def run(data: bytes) -> None:
    """Play the script, then end the session and see that no call is left."""
    play(main, Script(data))


async def numbers() -> AsyncIterator[int]:
    """What is sent with calls."""
    for number in range(300):
        yield number


class Caller(Peer):
    """Makes calls at one side, and is the peer at the other."""

    def __init__(self, client: muxpy.Session, server: muxpy.Session, nursery: trio.Nursery, script: Script) -> None:
        super().__init__(server, script)
        self.client = client
        self.nursery = nursery
        self.scopes: list[trio.CancelScope] = []
        self.made = 0
        self.steps += [self.call, self.accept, self.call, self.give_up, self.accept, self.call]

    async def call(self) -> None:
        flags = self.script.byte()
        if self.made >= MOST_CALLS:
            return
        service = rpc.client(self.client, Service, priority=flags >> 3 & 1, json=bool(flags >> 4 & 1))
        makers = (self.unary, self.unary, self.large, self.total, self.count, self.double, self.give, self.unary)
        for _ in range(1 + 60 * (flags >> 7)):
            self.made += 1
            self.nursery.start_soon(self.one, makers[flags & 7], service)
        await wait_all_tasks_blocked()

    async def one(self, make: Callable[[Any], Awaitable[None]], service: Service) -> None:
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            try:
                await make(service)
            except rpc.Error:
                pass
            finally:
                self.scopes.remove(scope)

    @staticmethod
    async def unary(service: Service) -> None:
        assert type(await service.echo(b"x")) is bytes

    @staticmethod
    async def large(service: Service) -> None:
        assert type(await service.echo(bytes(9000))) is bytes

    @staticmethod
    async def total(service: Service) -> None:
        assert type(await service.total(numbers())) is int

    @staticmethod
    async def count(service: Service) -> None:
        async for number in service.count(5):
            assert type(number) is int

    @staticmethod
    async def double(service: Service) -> None:
        async for number in service.double(numbers()):
            assert type(number) is int

    @staticmethod
    async def give(service: Service) -> None:
        async with await service.give() as stream:
            assert isinstance(stream, muxpy.Stream)

    async def give_up(self) -> None:
        number = self.script.byte()
        if self.scopes:
            self.scopes[number % len(self.scopes)].cancel()
            await wait_all_tasks_blocked()

    async def accept(self) -> None:
        with trio.move_on_after(0.1):
            self.streams.append(await self.session.accept_stream())


async def main(script: Script) -> None:
    """The session, its calls, and the peer."""
    async with session_pair("memory") as (client, server):
        async with trio.open_nursery() as nursery:
            caller = Caller(client, server, nursery, script)
            while script:
                await caller.step()
            await caller.leave()
            server.kill()
        await wait_all_tasks_blocked()
        endpoint = endpoint_of(client)
        assert endpoint.waiting == 0
        assert endpoint.budget._left == MAX_UNFINISHED, "bytes are kept for nobody"

"""A service with a method of every shape, and sessions on which it is served."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec
import trio

import muxpy
from muxpy import rpc
from tests.helpers.pairs import session_pair

__all__ = ["Bench", "Overdrawn", "Part", "Point", "Refused", "Worker", "served"]


@dataclass
class Point:
    x: int
    y: int = 0


class Part(msgspec.Struct):
    name: str
    parts: list["Part"] = []


class Overdrawn(rpc.Error, code=rpc.Code.FAILED_PRECONDITION, details=Point):
    """The account has less than that."""


class Refused(rpc.Error, code=rpc.Code.PERMISSION_DENIED):
    """Not to this caller."""


@rpc.service
class Bench(Protocol):
    """What tests call."""

    async def add(self, a: int, b: int = 1) -> int: ...
    async def echo(self, data: bytes) -> bytes: ...
    async def turn(self, point: Point, *, times: int = 1) -> Point: ...
    async def tree(self, part: Part) -> list[Part]: ...
    async def nothing(self) -> None: ...
    async def wrong(self) -> int: ...
    async def fail(self, how: str) -> None: ...
    async def wait(self, name: str) -> None: ...
    async def who(self) -> dict[str, str]: ...
    async def back(self, hops: int) -> int: ...
    def count(self, to: int, pause: float = 0) -> AsyncIterator[int]: ...
    async def total(self, numbers: AsyncIterable[int], at_most: int = 1_000_000) -> int: ...
    def double(self, numbers: AsyncIterable[int], by: int = 2) -> AsyncIterator[int]: ...
    async def fetch(self, size: int) -> muxpy.Stream: ...
    async def store(self, name: str, body: muxpy.Stream) -> int: ...
    @rpc.idempotent
    async def again(self, name: str) -> int: ...


class Worker(Bench):
    """Does it, and keeps what has happened."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.calls: list[rpc.Call] = []
        self.go_on = trio.Event()
        self.running = 0
        self.stored: dict[str, bytes] = {}

    async def add(self, a: int, b: int = 1) -> int:
        return a + b

    async def echo(self, data: bytes) -> bytes:
        return data

    async def turn(self, point: Point, *, times: int = 1) -> Point:
        for _ in range(times):
            point = Point(-point.y, point.x)
        return point

    async def tree(self, part: Part) -> list[Part]:
        return part.parts

    async def nothing(self) -> None:
        return None

    async def wrong(self) -> int:
        return "three"  # type: ignore[return-value] # what mypy does not see in a program without types

    async def fail(self, how: str) -> None:
        match how:
            case "overdrawn":
                raise Overdrawn("there are only 5 left", details=Point(5))
            case "wrong details":
                raise Overdrawn("there are only 5 left", details="five")
            case "refused":
                raise Refused
            case "group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.fail, "overdrawn")
            case "late":
                raise trio.TooSlowError
            case _:
                raise ValueError("the secret of the house")

    async def wait(self, name: str) -> None:
        self.began.append(name)
        self.running += 1
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled.append(name)
            raise
        finally:
            self.running -= 1
        self.ended.append(name)

    async def who(self) -> dict[str, str]:
        call = rpc.current_call()
        self.calls.append(call)
        return dict(call.metadata)

    async def back(self, hops: int) -> int:
        """Call the caller, which calls back, and so on."""
        session = rpc.current_call().session
        assert session is not None
        if not hops:
            await self.wait("the last hop")
            return 0
        return 1 + await rpc.client(session, Bench).back(hops - 1)

    async def count(self, to: int, pause: float = 0) -> AsyncIterator[int]:
        self.running += 1
        try:
            for number in range(to):
                yield number
                if pause:
                    await trio.sleep(pause)
        except trio.Cancelled:
            self.cancelled.append("count")
            raise
        finally:
            self.running -= 1

    async def total(self, numbers: AsyncIterable[int], at_most: int = 1_000_000) -> int:
        total = 0
        async for number in numbers:
            total += number
            if total > at_most:
                raise Refused
        return total

    async def double(self, numbers: AsyncIterable[int], by: int = 2) -> AsyncIterator[int]:
        async for number in numbers:
            yield number * by

    async def fetch(self, size: int) -> muxpy.Stream:
        session = rpc.current_call().session
        assert session is not None

        async def send(stream: muxpy.Stream) -> None:
            await stream.send_all(bytes(size))

        return await rpc.stream(session, send)

    async def store(self, name: str, body: muxpy.Stream) -> int:
        self.stored[name] = b"".join([data async for data in body])
        return len(self.stored[name])

    @rpc.idempotent
    async def again(self, name: str) -> int:
        self.began.append(name)
        return self.began.count(name)


@asynccontextmanager
async def served(
    kind: str = "memory",
    *,
    worker: Worker | None = None,
    interceptors: Sequence[rpc.Interceptor] = (),
    tracebacks: bool = False,
) -> AsyncIterator[tuple[Bench, Worker, muxpy.Session, muxpy.Session]]:
    """A client, what it calls, and the sessions of both ends."""
    worker = worker or Worker()
    async with session_pair(kind) as (here, there), trio.open_nursery() as nursery:
        serve = partial(rpc.serve, interceptors=interceptors, tracebacks=tracebacks)
        nursery.start_soon(serve, there, [worker])
        yield rpc.client(here, Bench), worker, here, there
        await here.aclose()

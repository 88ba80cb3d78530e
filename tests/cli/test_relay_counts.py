"""What a pacer is told of: every byte of a connection, wherever it comes and whatever becomes of it."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

import muxpy
from muxpy_cli.net import allow_all
from muxpy_cli.relay import Account, carry, reach, receive_answer, receive_opening, relay_datagrams
from muxpy_cli.specs import Address
from muxpy_cli.wire import Refused, pack
from tests.helpers.pairs import session_pair, tcp_pair
from tests.helpers.tasks import LIMIT

from .program import Server, closed_port, receive_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
OPENING = pack({"an": "opening"})
MUCH = bytes(50_000)


class Counter(muxpy.Pacer):
    """Lets everything go, and counts."""

    def __init__(self) -> None:
        self.total = 0
        self._news = trio.Event()

    async def came(self, total: int) -> None:
        """Wait until so much has been counted."""
        while self.total < total:
            await self._news.wait()

    def allow(self, resume: Callable[[], None]) -> int:
        return 1000

    def carried(self, count: int) -> None:
        self.total += count
        self._news.set()
        self._news = trio.Event()

    def withdraw(self, resume: Callable[[], None]) -> None:
        pass


@asynccontextmanager
async def reached(target: Address, pacer: muxpy.Pacer, *, datagrams: bool = False) -> AsyncIterator[muxpy.Stream]:
    """A stream that the other end connects to `target`."""

    async def handle(stream: muxpy.Stream) -> None:
        _, early = await receive_opening(stream)
        with suppress(Refused):
            await reach(stream, target, allow_all, early, datagrams=datagrams, pacer=pacer)

    with trio.fail_after(LIMIT):
        async with session_pair("unix") as (client, server), trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_streams, handle)
            async with await client.open_stream() as stream:
                yield stream
            nursery.cancel_scope.cancel()


async def test_what_comes_with_the_opening_counts() -> None:
    counter = Counter()

    async def answer(stream: trio.SocketStream) -> None:
        assert await receive_all(stream) == MUCH
        await stream.send_all(bytes(700))

    async with Server(answer) as target, reached(Address("127.0.0.1", target.port), counter) as stream:
        await stream.send_all(OPENING + MUCH)
        await stream.send_eof()
        assert await receive_answer(stream) + await receive_all(stream) == bytes(700)
    assert counter.total == len(MUCH) + 700


async def test_what_comes_for_a_target_that_refuses_counts() -> None:
    counter = Counter()
    with closed_port() as nowhere:
        async with reached(Address("127.0.0.1", nowhere), counter) as stream:
            await stream.send_all(OPENING + MUCH)
            await stream.send_all(bytes(300))
            await stream.send_eof()
            with suppress(Refused):
                await receive_answer(stream)
            assert not await stream.receive_some()
            await counter.came(len(MUCH) + 300)
    assert counter.total == len(MUCH) + 300


async def test_what_comes_behind_the_answer_counts() -> None:
    counter, account = Counter(), Account()
    outer, inner = await tcp_pair()

    async def answer(stream: muxpy.Stream) -> None:
        _, early = await receive_opening(stream)
        assert early == b"a header"
        await stream.send_all(pack({}) + bytes(900))
        assert await receive_all(stream) == b"from the client"

    with trio.fail_after(LIMIT):
        async with outer, session_pair("unix") as (client, server), trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_streams, answer)
            opening = OPENING + b"a header"
            nursery.start_soon(carry, inner, client.open_stream, opening, account.carrying, counter)
            await outer.send_all(b"from the client")
            await outer.send_eof()
            assert await receive_all(outer) == bytes(900)
            nursery.cancel_scope.cancel()
    assert counter.total == 900 + len(b"from the client")


async def test_datagrams_count_before_they_go() -> None:
    counter = Counter()
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as target:
        await target.bind(("127.0.0.1", 0))
        port = int(target.getsockname()[1])
        async with reached(Address("127.0.0.1", port), counter, datagrams=True) as stream:
            await stream.send_all(OPENING + _datagram(b"one") + _datagram(b"three"))
            assert await target.recv(100) == b"one"
            _, client = await target.recvfrom(100)
            await target.sendto(b"answer", client)
            await receive_answer(stream)
    assert counter.total == len(b"onethreeanswer")


def _datagram(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


class Closed(Counter):
    """Lets nothing go."""

    def allow(self, resume: Callable[[], None]) -> int:
        return 0


async def test_a_flow_that_waits_for_its_turn_is_not_idle(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair("memory") as (client, server):
        far = await client.open_stream()
        await far.send_all(b"x")
        stream = await server.accept_stream()
        assert await stream.receive_some() == b"x"
        await far.send_all(_datagram(b"one"))

        async def send(data: bytes) -> None:
            raise AssertionError(data)

        async def receive(most: int) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        with trio.move_on_after(600) as limit:
            await relay_datagrams(stream, receive, send, pacer=Closed())
        assert limit.cancelled_caught

"""What exchanges cost a server, counted and never timed: steps of handlers, reads, writes and frames."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from muxpy.frame.http2 import PREFACE, encode_settings
from tests.helpers.pairs import unix_pair
from tests.helpers.tasks import bounded

from .ends import GET, POST, RawPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import FrameType

    from muxpy.session import SessionOfStream

TEXT = {"content-type": "text/plain"}
ROOT = str(Path(muxpy.__file__).parent)
PART = 2e-4
"""Seconds that a handler takes, where handlers take time: six of them are more than an answer may wait for others."""


class Costs(trio.abc.Instrument):
    """Counts the steps of handlers."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += task.name.endswith("Handlers._run")


def _nothing() -> None:
    """A handler that takes no time."""


class Server:
    """A server whose handler answers with six bytes, after the request's body, and its scripted client."""

    def __init__(self, peer: RawPeer) -> None:
        self.peer = peer
        self.session: SessionOfStream | None = None
        self.work: Callable[[], None] = _nothing

    async def handle(self, exchange: http.Exchange) -> None:
        self.session = exchange.session
        self.work()
        if exchange.request.method == "POST":
            async for _ in exchange:
                pass
        await exchange.respond(200, TEXT, b"hello\n")

    @property
    def traffic(self) -> tuple[int, int, int]:
        """Reads, writes and frames sent so far."""
        assert self.session is not None
        now = self.session.statistics()
        return now.reads, now.writes, now.frames_sent


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    near, far = unix_pair()
    server = Server(RawPeer(far))
    async with far, trio.open_nursery() as nursery:
        nursery.start_soon(http.serve_stream, server.handle, near)
        await server.peer.send(PREFACE, encode_settings({}))
        await answered(server, 1)
        yield server
        nursery.cancel_scope.cancel()


async def answered(server: Server, *streams: int, body: bytes = b"") -> None:
    """Requests that come in one read, and their answers."""
    peer = server.peer
    frames = [peer.head(stream, POST if body else GET, end=not body) for stream in streams]
    if body:
        frames = [
            part
            for stream, head in zip(streams, frames, strict=True)
            for part in (head, peer.data(stream, body, end=True))
        ]
    await peer.send(*frames)
    for _ in streams:
        await peer.expect("HEADERS")
        assert (await peer.expect("DATA")).end
    await wait_all_tasks_blocked()


async def cost_of(server: Server, costs: Costs, *streams: int, body: bytes = b"") -> tuple[int, int, int]:
    """Reads, writes and frames of the server for these requests."""
    before = server.traffic
    trio.lowlevel.add_instrument(costs)
    try:
        await answered(server, *streams, body=body)
    finally:
        trio.lowlevel.remove_instrument(costs)
    reads, writes, frames = (now - then for now, then in zip(server.traffic, before, strict=True))
    return reads, writes, frames


@bounded()
async def test_a_small_exchange_is_a_read_a_step_and_a_write(mock_clock: trio.testing.MockClock) -> None:
    """The handler is woken, answers in that step, writes the answer itself, and is idle."""
    async with serving() as server:
        costs = Costs()

        assert await cost_of(server, costs, 3) == (1, 1, 2)
        assert costs.steps == 1


@bounded()
async def test_a_body_that_is_there_takes_no_step(mock_clock: trio.testing.MockClock) -> None:
    async with serving() as server:
        costs = Costs()

        assert await cost_of(server, costs, 3, body=bytes(4096)) == (1, 1, 2)
        assert costs.steps == 1


@bounded()
async def test_bodies_that_come_together_take_two_steps(mock_clock: trio.testing.MockClock) -> None:
    async with serving() as server:
        costs = Costs()

        assert await cost_of(server, costs, *range(3, 63, 2), body=bytes(100)) == (1, 1, 60)
        assert costs.steps == 2


@pytest.mark.parametrize("count", [2, 10, 30])
@bounded()
async def test_the_answers_to_one_read_are_two_steps_and_one_write(
    mock_clock: trio.testing.MockClock, count: int
) -> None:
    """However long nothing was written before. One task answers all, and one sees that nothing is left."""
    async with serving() as server:
        mock_clock.jump(1)
        costs = Costs()

        assert await cost_of(server, costs, *range(3, 3 + 2 * count, 2)) == (1, 1, 2 * count)
        assert costs.steps == 2


@pytest.mark.parametrize(("body", "most"), [(b"", 57), (bytes(4096), 74)], ids=["GET", "POST"])
@bounded()
async def test_an_exchange_among_others_enters_few_functions(
    mock_clock: trio.testing.MockClock, body: bytes, most: int
) -> None:
    """Of muxpy, and for 28 exchanges in one read; a call is what Python takes the most time for."""
    streams = [*range(3, 59, 2)]
    async with serving() as server:
        for _ in range(3):  # until the heads are known
            await answered(server, *streams, body=body)
            streams = [one + 56 for one in streams]
        frames = [server.peer.head(one, POST if body else GET, end=not body) for one in streams]
        requests = [
            head + (server.peer.data(one, body, end=True) if body else b"")
            for one, head in zip(streams, frames, strict=True)
        ]
        await server.peer.send(*requests)
        with entered() as functions:
            await wait_all_tasks_blocked()
        assert functions.total() <= most * len(streams), functions.most_common()


@contextmanager
def entered() -> Iterator[Counter[str]]:
    """The functions of muxpy that are entered, or gone on with, and how often."""
    functions: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            functions[frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield functions
    finally:
        sys.setprofile(before)


@bounded()
async def test_answers_do_not_wait_long_for_others(mock_clock: trio.testing.MockClock) -> None:
    async with serving() as server:
        server.work = partial(mock_clock.jump, PART)
        reads, writes, frames = await cost_of(server, Costs(), *range(3, 63, 2))

        assert (reads, frames) == (1, 60)
        assert 2 <= writes <= 8

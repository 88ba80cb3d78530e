"""Streams that carry checked data while something else happens on their session, and what must hold afterwards."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest
import trio

import muxpy
from muxpy.session._group import turns_of
from muxpy.session._poller import Poller, has_poller
from tests.helpers.content import named

from .inside import may_open
from .pairs import stream_pair
from .tasks import echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["Load", "assert_as_new", "held", "no_more_than", "nothing_left", "sparse", "until"]

STREAMS: Final = 10
"""One of each size from either side."""

DATA: Final = named("load", 100_000)

SIZES: Final = (1, 300, 5_000, 20_000, 70_000)
"""Bytes that streams carry, in turn: less than a frame, several frames, more than a window."""


def sparse() -> Iterator[int]:
    """1, 2, 3, 5, 8, ...: for steps of many tasks, where one step says little."""
    nth = 1
    while True:
        yield nth
        nth += 1 + nth // 2


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until something is so: what the kernel carries has no event."""
    while not condition():
        await trio.lowlevel.checkpoint()


def held() -> tuple[int, int]:
    """Tasks and descriptors."""
    return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/proc/self/fd"))


def no_more_than(before: tuple[int, int]) -> bool:
    """Fewer there may be: what an earlier test left to the garbage collector."""
    return all(now <= was for now, was in zip(held(), before, strict=True))


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """What the block takes of tasks and descriptors it gives back."""
    if has_poller:
        Poller.current()  # its task and its epoll are the run's
    await turns_of(muxpy.SessionGroup()).turn()  # so is this one's task
    before = held()
    yield
    await until(lambda: no_more_than(before))


@dataclass
class Load:
    """Streams that are echoed both ways, half of them opened by either side.

    `tolerant`: the session may end, and then what has come must be the beginning of what was sent.
    """

    tolerant: bool = False
    pairs: list[tuple[muxpy.Stream, muxpy.Stream]] = field(default_factory=list)
    whole: int = 0

    async def open(self, one: muxpy.Session, two: muxpy.Session) -> None:
        """Open and accept them all, with no data yet."""
        for number in range(STREAMS):
            self.pairs.append(await (stream_pair(one, two) if number % 2 else stream_pair(two, one)))

    async def run(self) -> None:
        """Carry everything, and look at every byte."""
        async with trio.open_nursery() as nursery:
            for number, (near, far) in enumerate(self.pairs):
                nursery.start_soon(self._end, self._ask, near, SIZES[number // 2 % len(SIZES)])
                nursery.start_soon(self._end, self._answer, far, 0)
        if not self.tolerant:
            assert self.whole == len(self.pairs)

    async def _end(self, work: Callable[[muxpy.Stream, int], Awaitable[None]], stream: muxpy.Stream, size: int) -> None:
        with suppress(trio.BrokenResourceError) if self.tolerant else nullcontext():
            await work(stream, size)

    async def _answer(self, stream: muxpy.Stream, _: int) -> None:
        async with stream:
            await echo(stream)

    async def _ask(self, stream: muxpy.Stream, size: int) -> None:
        data = DATA[size : 2 * size] if 2 * size <= len(DATA) else DATA[:size]
        received = bytearray()

        async def send() -> None:
            for start in range(0, size, 9_000):
                await stream.send_all(data[start : start + 9_000])
            await stream.send_eof()

        async with stream:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    while part := await stream.receive_some():
                        received += part
            except* trio.BrokenResourceError:
                if not self.tolerant:
                    raise
        assert data.startswith(received), "bytes lost, doubled or changed"
        if self.tolerant and len(received) < size:
            return
        assert len(received) == size
        self.whole += 1


async def assert_as_new(client: muxpy.Session, server: muxpy.Session) -> None:
    """Nothing is left in either session, and as many streams as ever can be opened, no more and no fewer."""
    await _empty(client, server)
    for opener, acceptor in ((client, server), (server, client)):
        if may_open(opener):
            pairs = [await stream_pair(opener, acceptor) for _ in range(acceptor.config.max_streams)]
            await _take_no_more(opener)
            for stream in (end for pair in pairs for end in pair):
                stream.reset()
    await _empty(client, server)


async def _take_no_more(opener: muxpy.Session) -> None:
    """One more stream is refused, or the opener knows that it would be."""
    try:
        one_more = opener.open_stream_nowait()
    except trio.WouldBlock:
        return
    with pytest.raises(muxpy.StreamReset) as caught:
        await one_more.receive_some()
    assert caught.value.code is muxpy.ErrorCode.REFUSED_STREAM
    one_more.reset()


async def _empty(*sessions: muxpy.Session) -> None:
    def busy() -> int:
        all_statistics = [session.statistics() for session in sessions]
        return sum(each.streams_open + each.control_frames_waiting for each in all_statistics)

    await until(lambda: not busy())
    for session in sessions:
        statistics = session.statistics()
        assert statistics.backlog == 0
        assert statistics.receive_budget_left == session.config.receive_budget

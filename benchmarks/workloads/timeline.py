"""Bulk as its receiver sees it over time."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from statistics import mean
from typing import TYPE_CHECKING, Self

import trio

from benchmarks.pattern import pieces

from ._base import Figures, Job, WorkloadError, receive_rest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.contenders import Client
    from benchmarks.contenders._base import Opener

__all__ = ["priority", "timeline"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a stream's first and last byte came, by the receiver's clock, and the bytes of each interval between."""

    first: float
    last: float
    interval: float
    intervals: Sequence[int]

    @classmethod
    def from_answer(cls, answer: bytes, interval: float) -> Self:
        fields = json.loads(answer)
        if not fields.pop("intact"):
            raise WorkloadError("the receiver found a byte that was not sent so")
        return cls(interval=interval, **fields)

    def between(self, start: float, end: float) -> int:
        """Bytes of the intervals that lie wholly between."""
        begins = (self.first + index * self.interval for index in range(len(self.intervals)))
        counted = zip(begins, self.intervals, strict=True)
        return sum(count for begin, count in counted if start <= begin and begin + self.interval <= end)


async def timeline(client: Client, job: Job) -> Figures:
    """One stream sends `chunk` bytes at a time for `seconds`; bytes received in each `interval` from the first on."""
    sent = await _send(client.open, job["chunk"], job["seconds"], job["interval"])
    return {"intervals": list(sent.intervals)}


async def priority(client: Client, job: Job) -> Figures:
    """One stream of `priority` sends beside `others` of priority 0: its share of all bytes while all of them send, and
    what the others got.

    The first `warmup` seconds do not count: the windows are still growing.
    """
    session = client.own_session()
    lines: dict[int, Timeline] = {}

    async def send(number: int, priority: int) -> None:
        opener = partial(session.open_stream, priority)
        lines[number] = await _send(opener, job["chunk"], job["warmup"] + job["seconds"], interval=0.01)

    async with trio.open_nursery() as nursery:
        for number in range(1 + job["others"]):
            nursery.start_soon(send, number, 0 if number else job["priority"])
    return _shares([lines[number] for number in sorted(lines)], job)


def _shares(lines: list[Timeline], job: Job) -> Figures:
    """The first line is the one with priority."""
    start = max(line.first for line in lines) + job["warmup"]
    end = min(line.last for line in lines)
    high, *others = (line.between(start, end) for line in lines)
    weight = 1 + int(job["priority"]).bit_length()
    share = high / (high + sum(others))
    expected = weight / (weight + len(others))
    return {
        "share": share,
        "expected": expected,
        "error": abs(share / expected - 1),
        "least": min(others) / mean(others),
        "rate": (high + sum(others)) / (end - start),
    }


async def _send(opener: Opener, chunk: int, seconds: float, interval: float) -> Timeline:
    async with await opener() as stream:
        await stream.send_all(b"t" + round(interval * 1e6).to_bytes(8, "big"))
        deadline = time.perf_counter() + seconds
        for piece in cycle(pieces(chunk)):
            await stream.send_all(piece)
            if time.perf_counter() >= deadline:
                break
        await stream.send_eof()
        return Timeline.from_answer(await receive_rest(stream), interval)

"""What the libraries' modules share: the message, the loops of callers, and what these report."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import quantiles
from typing import Any, Final, TypeAlias

import trio

from benchmarks.family import processor_time
from benchmarks.pattern import PATTERN

__all__ = [
    "HOST",
    "MESSAGE",
    "WORKLOADS",
    "Figures",
    "Job",
    "announce",
    "callers_of",
    "with_asyncio",
    "with_threads",
    "with_trio",
]

Job: TypeAlias = Mapping[str, Any]
Figures: TypeAlias = dict[str, float]

Echo: TypeAlias = Callable[[bytes], Awaitable[bytes]]
Subscribe: TypeAlias = Callable[[int], AsyncIterator[bytes]]
"""A call that gives so many messages."""

HOST: Final = "127.0.0.1"
MESSAGE: Final = PATTERN[:100]

WORKLOADS: Final = ("unary", "subscription")
"""unary: `callers` send MESSAGE and receive it, one call after the other. subscription: one caller receives MESSAGES in
each call."""

MESSAGES: Final = 5_000


# ---- the server ----


def announce(port: int) -> None:
    """Say where this process serves, and end it when its stdin ends."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    print(json.dumps({"port": port, "server": os.getpid()}), flush=True)


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # whatever the library's own threads wait for


# ---- the client ----


class Meter:
    """Counts what is done within `seconds`, and the processor time that both ends spend on it."""

    def __init__(self, server: int, seconds: float) -> None:
        self._server = server
        self._times: list[float] = []
        self._count = 0
        self._spent = self._processor()
        self._start = time.perf_counter()
        self._deadline = self._start + seconds

    def _processor(self) -> float:
        return time.process_time() + processor_time(self._server)

    async def call(self, echo: Echo) -> None:
        """Call, again and again."""
        going = True
        while going:
            begun = time.perf_counter()
            going = self.answered(await echo(MESSAGE), begun)

    def call_sync(self, echo: Callable[[bytes], bytes]) -> None:
        """The same, in a thread."""
        going = True
        while going:
            begun = time.perf_counter()
            going = self.answered(echo(MESSAGE), begun)

    def answered(self, answer: bytes, begun: float) -> bool:
        """A call that began at this time has its answer. Returns whether there is time for another one."""
        now = time.perf_counter()
        if answer != MESSAGE:
            raise ValueError("the answer is not what was sent")
        self._times.append(now - begun)
        return now < self._deadline

    async def receive(self, subscribe: Subscribe) -> None:
        """Receive the messages of one call after the other."""
        while time.perf_counter() < self._deadline:
            received = 0
            async for message in subscribe(MESSAGES):
                self._check(message)
                received += 1
            self._received(received)

    def receive_sync(self, subscribe: Callable[[int], Iterator[bytes]]) -> None:
        """The same, in a thread."""
        while time.perf_counter() < self._deadline:
            received = 0
            for message in subscribe(MESSAGES):
                self._check(message)
                received += 1
            self._received(received)

    def _check(self, message: bytes) -> None:
        if message != MESSAGE:
            raise ValueError("a message is not what was sent")

    def _received(self, count: int) -> None:
        if count != MESSAGES:
            raise ValueError(f"{count} messages have come, not {MESSAGES}")
        self._count += count

    def figures(self) -> Figures:
        """What a second brings, seconds for one call, and the processor's for one call or message."""
        elapsed, spent = time.perf_counter() - self._start, self._processor() - self._spent
        done = self._count or len(self._times)
        figures = {"rate": done / elapsed, "processor": spent / done}
        if len(self._times) > 1:
            cuts = quantiles(self._times, n=100, method="inclusive")
            figures |= {"p50": cuts[49], "p99": cuts[98]}
        return figures


def callers_of(job: Job) -> int:
    """How many callers a job has."""
    callers: int = job.get("callers", 1)
    return callers


def _meters(job: Job) -> Iterator[Meter]:
    """One to get warm, and the one that counts."""
    for seconds in (job["warmup"], job["seconds"]):
        yield Meter(job["server"], seconds)


def _work(meter: Meter, job: Job, echo: Echo, subscribe: Subscribe | None) -> Callable[[], Awaitable[None]]:
    """What each caller does."""
    if job["workload"] == "unary":
        return partial(meter.call, echo)
    assert subscribe is not None
    return partial(meter.receive, subscribe)


async def with_asyncio(job: Job, echo: Echo, subscribe: Subscribe | None = None) -> Figures:
    """The job with a task of asyncio for each caller."""
    for meter in _meters(job):
        work = _work(meter, job, echo, subscribe)
        await asyncio.gather(*(work() for _ in range(callers_of(job))))
    return meter.figures()


async def with_trio(job: Job, echo: Echo, subscribe: Subscribe | None = None) -> Figures:
    """The job with a task of Trio for each caller."""
    for meter in _meters(job):
        async with trio.open_nursery() as nursery:
            for _ in range(callers_of(job)):
                nursery.start_soon(_work(meter, job, echo, subscribe))
    return meter.figures()


def with_threads(
    job: Job, echoes: Sequence[Callable[[bytes], bytes]], subscribe: Callable[[int], Iterator[bytes]] | None = None
) -> Figures:
    """The job with a thread for each caller, of which each has a function for its calls."""
    with ThreadPoolExecutor(len(echoes)) as threads:
        for meter in _meters(job):
            if job["workload"] == "unary":
                list(threads.map(meter.call_sync, echoes))
            else:
                assert subscribe is not None
                meter.receive_sync(subscribe)
    return meter.figures()

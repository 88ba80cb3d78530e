"""How long a small message takes beside bulk."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from itertools import cycle
from statistics import quantiles
from typing import TYPE_CHECKING

import trio

from benchmarks.contenders import HOST, Client
from benchmarks.pattern import pieces

from ._base import Figures, Job, echo_once, message

if TYPE_CHECKING:
    from benchmarks.contenders._base import Opener

__all__ = ["latency"]


async def latency(client: Client, job: Job) -> Figures:
    """An echo of `size` bytes every `every` seconds, over the session and over a plain TCP connection of its own to the
    same process: first alone, then beside `streams` bulk streams of the session. Seconds for one echo.

    Both echoes run at the same time in this one process, half an interval apart: what it does beside them delays both
    alike.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(await client.open())
        plain = await stack.enter_async_context(await trio.open_tcp_stream(HOST, job["plain"]))
        for stream in (session, plain):
            await echo_once(stream, message(job["size"]), request=b"e")
        quiet = await _both(session, plain, job)
        async with trio.open_nursery() as nursery:
            for _ in range(job["streams"]):
                nursery.start_soon(_send_on, client.open)
            await trio.sleep(job["warmup"])
            beside = await _both(session, plain, job)
            nursery.cancel_scope.cancel()
    return {f"idle_{key}": value for key, value in quiet.items()} | beside


async def _both(session: trio.abc.Stream, plain: trio.abc.Stream, job: Job) -> Figures:
    figures: Figures = {}
    start = trio.current_time() + 0.01

    async def ping(stream: trio.abc.Stream, prefix: str, start: float) -> None:
        times = await _ping(stream, start, job)
        cuts = quantiles(times, n=100, method="inclusive")
        figures.update({f"{prefix}p50": cuts[49], f"{prefix}p99": cuts[98], f"{prefix}echoes": len(times)})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ping, session, "", start)
        nursery.start_soon(ping, plain, "tcp_", start + job["every"] / 2)
    return figures


async def _ping(stream: trio.abc.Stream, start: float, job: Job) -> list[float]:
    sent = message(job["size"])
    times = []
    for number in range(max(2, round(job["seconds"] / job["every"]))):
        await trio.sleep_until(start + number * job["every"])
        before = time.perf_counter()
        await echo_once(stream, sent)
        times.append(time.perf_counter() - before)
    return times


async def _send_on(opener: Opener) -> None:
    async with await opener() as stream:
        await stream.send_all(b"s")
        for piece in cycle(pieces(65536)):
            await stream.send_all(piece)

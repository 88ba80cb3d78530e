"""Small messages there and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from ._base import Figures, Job, echo_once, message

if TYPE_CHECKING:
    from benchmarks.contenders import Client

__all__ = ["echo", "open_close"]


class Count:
    """Echoes since the warmup."""

    def __init__(self, job: Job) -> None:
        self.start: float = time.perf_counter() + job["warmup"]
        self.deadline: float = self.start + job["seconds"]
        self.count = 0

    def add(self) -> bool:
        """Count one that is done; whether there is time for another."""
        now = time.perf_counter()
        if now >= self.start:
            self.count += 1
        return now < self.deadline

    def figures(self) -> Figures:
        return {"rate": self.count / (time.perf_counter() - self.start)}


async def echo(client: Client, job: Job) -> Figures:
    """On each of `streams`, `size` bytes are sent and received, one after the other; `idle` more streams are open."""
    active = [await client.open() for _ in range(job["streams"])]
    idle = [await client.open() for _ in range(job.get("idle", 0))]
    for stream in (*active, *idle):
        await stream.send_all(b"e")
    for stream in active:
        await echo_once(stream, message(job["size"]))
    count = Count(job)

    async def ping(stream: trio.abc.HalfCloseableStream) -> None:
        sent = message(job["size"])
        await echo_once(stream, sent)
        while count.add():
            await echo_once(stream, sent)

    async with trio.open_nursery() as nursery:
        for stream in active:
            nursery.start_soon(ping, stream)
    figures = count.figures()
    for stream in (*active, *idle):
        await stream.aclose()
    return figures


async def open_close(client: Client, job: Job) -> Figures:
    """`at_once` tasks open a stream, send `size` bytes, receive them again and close it, over and over."""
    count = Count(job)

    async def cycle() -> None:
        sent = message(job["size"])
        going = True
        while going:
            async with await client.open() as stream:
                await echo_once(stream, sent, request=b"e")
            going = count.add()

    async with trio.open_nursery() as nursery:
        for _ in range(job["at_once"]):
            nursery.start_soon(cycle)
    return count.figures()

"""Much data one way."""

from __future__ import annotations

import time
from itertools import cycle
from typing import TYPE_CHECKING

import trio

from benchmarks.pattern import WRONG, pieces

from ._base import Figures, Job, WorkloadError, ask_report

if TYPE_CHECKING:
    from benchmarks.contenders import Client
    from benchmarks.contenders._base import Opener

__all__ = ["bulk", "updates"]

WINDOW_UPDATE: int = 12
"""Bytes of a WND_INC frame."""


async def bulk(client: Client, job: Job) -> Figures:
    """`streams` in parallel send `chunk` bytes at a time for `seconds`; the time ends when the receiver has said that
    all bytes have arrived intact. Before that the same for `warmup` seconds, not counted."""
    chunks = pieces(job["chunk"])
    await _send_for(job["warmup"], client.open, job["streams"], chunks)
    total, elapsed = await _send_for(job["seconds"], client.open, job["streams"], chunks)
    return {"rate": total / elapsed, "elapsed": elapsed}


async def updates(client: Client, job: Job) -> Figures:
    """Bulk, and what part of all bytes were window updates, as the receiving side counted."""
    figures = await bulk(client, job)
    report = await ask_report(client.own_session())
    updates = report["window_updates_sent"] * WINDOW_UPDATE
    return {**figures, "share": updates / (report["bytes_received"] + report["bytes_sent"])}


async def _send_for(seconds: float, opener: Opener, streams: int, chunks: list[bytes]) -> tuple[int, float]:
    start = time.perf_counter()
    sent: list[int] = []

    async def send() -> None:
        sent.append(await _send_until(start + seconds, opener, chunks))

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(send)
    return sum(sent), time.perf_counter() - start


async def _send_until(deadline: float, opener: Opener, chunks: list[bytes]) -> int:
    async with await opener() as stream:
        await stream.send_all(b"s")
        sent = 0
        for chunk in cycle(chunks):
            await stream.send_all(chunk)
            sent += len(chunk)
            if time.perf_counter() >= deadline:
                break
        await stream.send_eof()
        await _check_answer(stream, sent)
    return sent


async def _check_answer(stream: trio.abc.ReceiveStream, sent: int) -> None:
    answer = b""
    while len(answer) < 8:
        data = await stream.receive_some()
        if not data:
            raise WorkloadError("the stream ended before the receiver's count")
        answer += data
    count = int.from_bytes(answer, "big")
    if count == WRONG:
        raise WorkloadError("the receiver found a byte that was not sent so")
    if count != sent:
        raise WorkloadError(f"the receiver counted {count:,} bytes of {sent:,}")

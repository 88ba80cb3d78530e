"""What a server does with a stream. Its first byte is the request.

s  sink: check and count until the end, answer with the count (8 bytes, big-endian)
t  timeline: the same, but answer with JSON: when the first and the last byte came, and bytes per interval.
   The interval follows the t, in microseconds (8 bytes, big-endian)
e  echo
h  hold: never read again
r  report: answer with JSON about this process and, in a session, its statistics
"""

from __future__ import annotations

import gc
import json
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import trio

import muxpy

from .pattern import Checker

__all__ = ["REPORT", "resident", "serve"]

Buffer: TypeAlias = bytes | bytearray
"""What `receive_some` of Trio's streams returns."""

REPORT: Final = 1
"""The stream type of a report, for servers that only hold all other streams."""


async def serve(stream: trio.abc.Stream) -> None:
    """Serve one stream until it ends. Closing it is up to the caller."""
    try:
        first = await stream.receive_some()
        if first:
            await _HANDLERS[bytes(first[:1])](stream, first[1:])
    except trio.BrokenResourceError:
        pass  # the client has its answer, and is gone


async def _sink(stream: trio.abc.Stream, data: Buffer) -> None:
    checker = Checker()
    data = data or await stream.receive_some()
    while data:
        checker.feed(data)
        data = await stream.receive_some()
    await stream.send_all(checker.answer())


async def _timeline(stream: trio.abc.Stream, data: Buffer) -> None:
    while len(data) < 8:
        data += await stream.receive_some()
    interval, data = int.from_bytes(data[:8], "big") / 1e6, data[8:]
    checker = Checker()
    intervals: list[int] = []
    data = data or await stream.receive_some()
    first = now = time.perf_counter()
    while data:
        checker.feed(data)
        now = time.perf_counter()
        index = int((now - first) / interval)
        intervals.extend([0] * (index + 1 - len(intervals)))
        intervals[index] += len(data)
        data = await stream.receive_some()
    answer = {"first": first, "last": now, "intervals": intervals, "intact": checker.intact}
    await stream.send_all(json.dumps(answer).encode())


async def _echo(stream: trio.abc.Stream, data: Buffer) -> None:
    data = data or await stream.receive_some()
    while data:
        await stream.send_all(data)
        data = await stream.receive_some()


async def _hold(stream: trio.abc.Stream, data: Buffer) -> None:
    await trio.sleep_forever()


async def _report(stream: trio.abc.Stream, data: Buffer) -> None:
    report: dict[str, Any] = {"resident": resident()}
    if isinstance(stream, muxpy.Stream):
        report |= asdict(stream.session.statistics())
        config = stream.session.config
        report |= {"receive_budget": config.receive_budget}
    await stream.send_all(json.dumps(report).encode())


def resident() -> int:
    """Bytes of memory that this process holds, after a garbage collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


_HANDLERS: Final = {b"s": _sink, b"t": _timeline, b"e": _echo, b"h": _hold, b"r": _report}

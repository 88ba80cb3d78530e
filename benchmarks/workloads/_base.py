"""What workloads share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.contenders import Client
from benchmarks.pattern import PATTERN
from benchmarks.serving import REPORT

if TYPE_CHECKING:
    import trio

    import muxpy

__all__ = ["Figures", "Job", "Workload", "WorkloadError", "ask_report", "echo_once", "message", "receive_rest"]

Job: TypeAlias = dict[str, Any]
Figures: TypeAlias = dict[str, Any]
Workload: TypeAlias = Callable[[Client, Job], Awaitable[Figures]]


class WorkloadError(Exception):
    """The bytes that came back are not those that were sent."""


def message(size: int) -> bytes:
    """What an echo sends."""
    return PATTERN[:size]


async def echo_once(stream: trio.abc.Stream, sent: bytes, *, request: bytes = b"") -> None:
    """Send `request`, which tells the server what to do, and a message, and receive that message."""
    await stream.send_all(request + sent)
    received = await stream.receive_some()
    while len(received) < len(sent):
        more = await stream.receive_some()
        if not more:
            raise WorkloadError("the stream ended in the middle of an echo")
        received += more
    if received != sent:
        raise WorkloadError("the echo is not what was sent")


async def receive_rest(stream: trio.abc.ReceiveStream) -> bytes:
    """All bytes up to the end."""
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


async def ask_report(session: muxpy.Session) -> dict[str, Any]:
    """The server's report about its process and this session."""
    async with await session.open_stream(stream_type=REPORT) as stream:
        await stream.send_all(b"r")
        await stream.send_eof()
        report: dict[str, Any] = json.loads(await receive_rest(stream))
        return report

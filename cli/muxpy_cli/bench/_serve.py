"""The listening end: doing the job that a stream asks for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from ..wire import Refused, pack
from ._protocol import MAX_SECONDS, Job, Pattern, Request, WrongData, pack_span
from ._results import Meter

if TYPE_CHECKING:
    import muxpy

    from ..wire import Message

__all__ = ["serve_bench"]

GRACE: Final = 5.0
"""Seconds beyond MAX_SECONDS for data that is in flight when the time is over."""


async def serve_bench(stream: muxpy.Stream, message: Message, early: bytes) -> None:
    """Do the job of one stream of purpose BENCH; `early` is what came with its first message.

    Takes at most MAX_SECONDS and GRACE, then the stream is reset. The caller closes the stream. It is an ordinary end
    if the connecting end resets it, or the session ends. Raises WireError for an improper request, before any answer.
    """
    request = Request.parse(message)
    with trio.move_on_after(MAX_SECONDS + GRACE) as limit, suppress(trio.BrokenResourceError):
        if request.job is Job.DOWNLOAD:
            await _send(stream, request)
        elif request.job is Job.UPLOAD:
            await _receive(stream, request, early)
        else:
            await _echo(stream, early)
    if limit.cancelled_caught:
        stream.reset()


async def _send(stream: muxpy.Stream, request: Request) -> None:
    await stream.send_all(pack({}))
    end = trio.current_time() + request.warm_up + request.seconds
    for chunk in Pattern(stream.id).chunks(request.size):
        if trio.current_time() >= end:
            break
        await stream.send_all(chunk)
    await stream.send_eof()


async def _receive(stream: muxpy.Stream, request: Request, early: bytes) -> None:
    try:
        report = await _count(stream, request, early)
    except WrongData as error:
        report = Refused("failed", str(error)).message()
    await stream.send_all(pack(report), end=True)
    # Closing now would answer data in flight with a reset, which could overtake the report at the other end.
    with trio.move_on_after(GRACE):
        async for _ in stream:
            pass


async def _count(stream: muxpy.Stream, request: Request, early: bytes) -> Message:
    meter = Meter(request.warm_up)
    pattern = Pattern(stream.id)
    data = early
    with trio.move_on_after(request.warm_up + request.seconds):
        while data or (data := await stream.receive_some()):
            pattern.check(data)
            meter.add(len(data))
            data = b""
    return pack_span(meter.finish())


async def _echo(stream: muxpy.Stream, early: bytes) -> None:
    await stream.send_all(pack({}) + early)
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()

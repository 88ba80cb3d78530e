"""`Stream.splice` on systems without epoll: a task for each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from muxpy._errors import without_cancelled

if TYPE_CHECKING:
    from ._pacer import Pacer

__all__ = ["Head", "copy_both_ways"]

Head: TypeAlias = Callable[[bytes], bytes | None]
"""Takes what a stream receives first: see `Stream.splice`."""

COPY_SIZE: Final = 64 * 1024
"""The most bytes that are copied in one step."""


async def copy_both_ways(
    stream: trio.abc.HalfCloseableStream,
    socket: trio.SocketStream,
    early: bytes,
    head: Head | None,
    pacer: Pacer | None,
    *,
    ended: bool,
) -> None:
    """Join a stream to a socket: see `Stream.splice`. `ended`: the stream's direction to the peer has ended already."""

    async def outwards() -> None:
        await _copy(stream, socket, pacer, early if head is None else early + await _pass_head(stream, head))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outwards)
            if not ended:
                await _copy(socket, stream, pacer)
    except BaseExceptionGroup as group:
        cause = without_cancelled(group)
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        error = group if cause is None else cause
        raise error from error.__cause__


async def _pass_head(stream: trio.abc.ReceiveStream, head: Head) -> bytes:
    while (rest := head(data := bytes(await stream.receive_some()))) is None and data:
        pass
    return rest or b""


async def _copy(
    source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, pacer: Pacer | None, early: bytes = b""
) -> None:
    data: bytes | bytearray = early or await source.receive_some(COPY_SIZE)
    while data:
        if pacer is not None:
            await pacer.take(len(data))
        await sink.send_all(data)
        data = await source.receive_some(COPY_SIZE)
    await sink.send_eof()

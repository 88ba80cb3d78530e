"""Carrying one connection: bytes both ways, with half-close and reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from .._errors import the_cause
from ..net import close_in_order, close_with_reset
from ._vanished import forget, watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import muxpy

__all__ = ["RELAY_BUFFER", "abort", "relay"]

RELAY_BUFFER: Final = 64 * 1024
"""Bytes that each direction copies at once; also all that waits here when the receiving side is slow."""


async def relay(
    near: trio.abc.HalfCloseableStream,
    far: muxpy.Stream,
    *,
    early: bytes = b"",
    head: Callable[[], Awaitable[bytes]] | None = None,
    pacer: muxpy.Pacer | None = None,
) -> bool:
    """Run until both directions have ended, or one has failed; `near` is closed then, and `far` ended. True if all
    came through to the end.

    `early` is what had already been read from `far`. `head`, if given, runs before anything else is read from `far`,
    while the other direction already flows, and returns such early bytes too. What `head` raises resets both.
    `pacer` limits the rate of both directions together, where `near` is a socket.

    If one side is reset, so is the other.
    """
    try:
        if isinstance(near, trio.SocketStream):
            watch(near.socket, far.reset)  # which ends the splice
            try:
                await far.splice(near, early=early, head=head, pacer=pacer)
            finally:
                forget(near.socket)
        else:
            await _copy_both_ways(near, far, early, head)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        abort(near, far)
        return False
    except BaseException:
        abort(near, far)
        raise
    if isinstance(near, trio.SocketStream):
        close_in_order(near.socket)
    else:
        await near.aclose()
    return True


async def _copy_both_ways(
    near: trio.abc.HalfCloseableStream, far: muxpy.Stream, early: bytes, head: Callable[[], Awaitable[bytes]] | None
) -> None:
    async def outwards() -> None:
        await _copy(far, near, early if head is None else early + await head())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outwards)
            await _copy(near, far)
    except BaseExceptionGroup as group:
        raise the_cause(group) from None


async def _copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, early: bytes = b"") -> None:
    if early:
        await sink.send_all(early)
    while data := await source.receive_some(RELAY_BUFFER):
        await sink.send_all(data)
    await sink.send_eof()


def abort(near: trio.abc.AsyncResource, far: muxpy.Stream | None = None) -> None:
    """Reset both, at once: whoever is at their other ends gets an error."""
    if isinstance(near, trio.SocketStream):
        close_with_reset(near.socket)
    if far is not None:
        far.reset()

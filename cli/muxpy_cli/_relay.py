"""Copying bytes both ways between a socket and a stream of the session, with half-close and reset."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import muxpy

__all__ = ["RELAY_BUFFER", "abort", "relay"]

RELAY_BUFFER: Final = 64 * 1024
"""Bytes that each direction takes at once; also all that waits here when the receiving side is slow."""

# Closing with a linger time of 0 sends RST instead of FIN: the other side sees an error, not an end.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


async def relay(
    near: trio.SocketStream,
    far: muxpy.Stream,
    *,
    early: bytes = b"",
    opening: Callable[[], Awaitable[bytes]] | None = None,
) -> None:
    """Run until both directions have ended, or one has failed; `near` is closed then, and `far` ended.

    `early` is what had already been read from `far`. `opening`, if given, runs before anything else is read from
    `far`, while the other direction already flows, and returns such early bytes too.

    If one side is reset, so is the other. What `opening` raises resets both, and comes out in an ExceptionGroup.
    """

    async def outwards() -> None:
        await _copy(far, near, await opening() if opening is not None else early)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outwards)
            await _copy(near, far)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        abort(near, far)
    except* BaseException:
        abort(near, far)
        raise
    else:
        near.socket.close()


async def _copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, early: bytes = b"") -> None:
    if early:
        await sink.send_all(early)
    while data := await source.receive_some(RELAY_BUFFER):
        await sink.send_all(data)
    await sink.send_eof()


def abort(near: trio.SocketStream, far: muxpy.Stream | None = None) -> None:
    """Reset both, at once: whoever is at their other ends gets an error."""
    if near.socket.fileno() >= 0:
        near.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        near.socket.close()
    if far is not None:
        far.reset()

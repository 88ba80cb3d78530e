"""Datagrams on a stream: each after its length as two bytes, so that their boundaries are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

from .._errors import the_cause

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    import muxpy

    from ..access import TokenBucket

_T = TypeVar("_T")

__all__ = ["DATAGRAM_IDLE", "MAX_DATAGRAM", "relay_datagrams"]

MAX_DATAGRAM: Final = 65_535
"""The most that UDP, and two bytes of length, can say."""

DATAGRAM_IDLE: Final = 60.0
"""Seconds after which a flow without datagrams is over: UDP does not say so. Longer than any resolver retries, and
about what the firewalls on the way give it."""


async def relay_datagrams(
    far: muxpy.Stream,
    receive: Callable[[int], Awaitable[bytes]],
    send: Callable[[bytes], Awaitable[object]],
    early: bytes = b"",
    head: Callable[[], Awaitable[bytes]] | None = None,
    buckets: Sequence[TokenBucket] = (),
) -> None:
    """Pass datagrams both ways until the stream ends or nothing has come for DATAGRAM_IDLE seconds.

    `receive(MAX_DATAGRAM)` and `send(datagram)` are a socket's; what they raise as OSError, such as the ICMP messages
    of a target that does not listen, is as good as a lost datagram. `early`, `head` and `buckets` are as for
    `relay`.
    """

    with trio.CancelScope() as idle:

        async def passed(datagram: bytes) -> None:
            wait = max((bucket.take(len(datagram)) for bucket in buckets), default=0.0)
            idle.deadline = trio.current_time() + wait + DATAGRAM_IDLE
            if wait:
                await trio.sleep(wait)

        async def outwards() -> None:
            first = early if head is None else await head()
            async for datagram in _datagrams(far, first):
                await _unless_lost(send(datagram))
                await passed(datagram)
            idle.cancel()

        idle.deadline = trio.current_time() + DATAGRAM_IDLE
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outwards)
                while True:
                    datagram = await _unless_lost(receive(MAX_DATAGRAM))
                    if datagram is not None:
                        await far.send_all(len(datagram).to_bytes(2, "big") + datagram)
                        await passed(datagram)
        except BaseExceptionGroup as group:
            cause = the_cause(group)
            if not isinstance(cause, trio.BrokenResourceError | trio.ClosedResourceError):
                raise cause from None


async def _unless_lost(operation: Awaitable[_T]) -> _T | None:
    try:
        return await operation
    except OSError:
        await trio.lowlevel.checkpoint()
        return None


async def _datagrams(stream: muxpy.Stream, data: bytes) -> AsyncGenerator[bytes, None]:
    """What comes on the stream, cut into datagrams. A part of one at the end is dropped."""
    while True:
        position = 0
        while len(data) - position >= 2:
            end = position + 2 + int.from_bytes(data[position : position + 2], "big")
            if end > len(data):
                break
            yield data[position + 2 : end]
            position = end
        chunk = await stream.receive_some()
        if not chunk:
            return
        data = data[position:] + chunk

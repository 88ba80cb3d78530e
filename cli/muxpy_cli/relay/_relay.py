"""Carrying one connection: bytes both ways, with half-close, reset and backpressure; and peers that vanish."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from .._errors import the_cause
from ..net import close_in_order, close_with_reset, unanswered_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..net import Socket

__all__ = ["abort", "relay", "watched_sockets"]


_SOCKETS: Final = (socket.socket, trio.SocketStream)
"""In this order: whether something is a class of Trio, which are abstract, takes long to find out."""

RELAY_BUFFER: Final = 64 * 1024
"""Bytes that each direction copies in one step, and the most that waits here when the receiving side is slow."""


async def relay(
    near: trio.abc.HalfCloseableStream | socket.socket,
    far: muxpy.Stream,
    *,
    early: bytes = b"",
    head: Callable[[bytes], bytes | None] | None = None,
    pacer: muxpy.Pacer | None = None,
) -> bool:
    """Run until both directions have ended, or one has failed; `near` is closed then, and `far` ended. True if both
    directions ended in order.

    `early` is what had already been read from `far`. `head`, if given, takes what is received from `far` first, while
    the other direction already flows: see `muxpy.Stream.splice`. What `head` raises resets both.
    `pacer` limits the rate of both directions together, where `near` is a socket. The splice asks it before it carries
    anything, so half-closes and resets are the same with a rate and without.

    If one side is reset, so is the other. Raises StreamReset if the other end refused the stream that `head` is for.
    """
    try:
        if isinstance(near, _SOCKETS):
            watched, one = watched_sockets(), _socket_of(near)
            watched[one] = far.reset  # which ends the splice, if the peer vanishes
            try:
                await far.splice(near, early=early, head=head, pacer=pacer)
            finally:
                del watched[one]
        else:
            await _copy_both_ways(near, far, early, head)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        abort(near, far)
        if head is not None and isinstance(error, muxpy.StreamReset) and error.retryable:
            raise
        return False
    except BaseException:
        abort(near, far)
        raise
    if isinstance(near, _SOCKETS):
        close_in_order(_socket_of(near))
    else:
        await near.aclose()
    return True


def _socket_of(near: trio.SocketStream | socket.socket) -> Socket:
    return near if isinstance(near, socket.socket) else near.socket


async def _copy_both_ways(
    near: trio.abc.HalfCloseableStream, far: muxpy.Stream, early: bytes, head: Callable[[bytes], bytes | None] | None
) -> None:
    async def outwards() -> None:
        rest: bytes | None = b""
        while head is not None and (rest := head(await far.receive_some())) is None:
            pass
        await _copy(far, near, early + (rest or b""))

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


def abort(near: trio.abc.AsyncResource | socket.socket, far: muxpy.Stream | None = None) -> None:
    """Reset both immediately: their other ends get an error."""
    if isinstance(near, _SOCKETS):
        close_with_reset(_socket_of(near))
    if far is not None:
        far.reset()


# ---- peers that vanish while data is in flight to them, so that TCP's keepalive sends no probes ----

VANISHED: Final = 150.0
"""Seconds without an acknowledgement after which a peer that owes one is gone: as long as keepalive takes, and more
than the two minutes that Linux lets pass at most between two probes of a peer that does not read."""

LOOK_EVERY: Final = 15.0
"""Seconds between checks, so that with VANISHED it is known within three minutes."""

LOOKS: Final = 500
"""Sockets checked before other tasks run: about a millisecond."""

_watched: trio.lowlevel.RunVar[dict[Socket, Callable[[], object]]] = trio.lowlevel.RunVar("watched")


def watched_sockets() -> dict[Socket, Callable[[], object]]:
    """The sockets that are watched in this run, and what is called if their peers vanish. Without a scope and a timer
    for each, which thousands of short connections would all pay for."""
    try:
        return _watched.get()
    except LookupError:
        sockets: dict[Socket, Callable[[], object]] = {}
        _watched.set(sockets)
        trio.lowlevel.spawn_system_task(_look, sockets, name="muxpy vanished peers")
        return sockets


async def _look(sockets: dict[Socket, Callable[[], object]]) -> None:
    while True:
        await trio.sleep(LOOK_EVERY)
        for number, (one, on_vanished) in enumerate(list(sockets.items()), start=1):
            if one in sockets and unanswered_for(one) > VANISHED:
                on_vanished()
            if not number % LOOKS:
                await trio.lowlevel.checkpoint()

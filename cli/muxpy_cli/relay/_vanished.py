"""Peers that vanish while something is on its way to them, so that TCP's keepalive does not ask."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from ..net import unanswered_for

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["watched"]

LIMIT: Final = 150.0
"""Seconds without an acknowledgement after which a peer that owes one is gone: as long as keepalive takes, and more
than the two minutes that Linux lets pass at most before it asks a peer again that does not read."""

INTERVAL: Final = 15.0
"""Seconds between looks: with LIMIT, within three minutes."""

SLICE: Final = 500
"""Sockets looked at before other tasks get their turn: about a millisecond."""

_watched: trio.lowlevel.RunVar[dict[trio.socket.SocketType, trio.CancelScope]] = trio.lowlevel.RunVar("watched sockets")


@contextmanager
def watched(one: trio.socket.SocketType) -> Iterator[None]:
    """Raises trio.BrokenResourceError if the socket's peer vanishes while the block runs."""
    sockets = _sockets()
    with trio.CancelScope() as scope:
        sockets[one] = scope
        try:
            yield
        finally:
            del sockets[one]
    if scope.cancelled_caught:
        raise trio.BrokenResourceError(f"nothing was acknowledged for {LIMIT:g} seconds")


def _sockets() -> dict[trio.socket.SocketType, trio.CancelScope]:
    try:
        return _watched.get()
    except LookupError:
        sockets: dict[trio.socket.SocketType, trio.CancelScope] = {}
        _watched.set(sockets)
        trio.lowlevel.spawn_system_task(_look, sockets, name="muxpy vanished peers")
        return sockets


async def _look(sockets: dict[trio.socket.SocketType, trio.CancelScope]) -> None:
    while True:
        await trio.sleep(INTERVAL)
        for number, (one, scope) in enumerate(list(sockets.items()), start=1):
            if unanswered_for(one) > LIMIT:
                scope.cancel()
            if not number % SLICE:
                await trio.lowlevel.checkpoint()

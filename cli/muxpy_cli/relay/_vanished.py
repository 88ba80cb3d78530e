"""Peers that vanish while something is on its way to them, so that TCP's keepalive does not ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ..net import unanswered_for

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forget", "watch"]

LIMIT: Final = 150.0
"""Seconds without an acknowledgement after which a peer that owes one is gone: as long as keepalive takes, and more
than the two minutes that Linux lets pass at most before it asks a peer again that does not read."""

INTERVAL: Final = 15.0
"""Seconds between looks: with LIMIT, within three minutes."""

SLICE: Final = 500
"""Sockets looked at before other tasks get their turn: about a millisecond."""

_watched: trio.lowlevel.RunVar[dict[trio.socket.SocketType, Callable[[], object]]] = trio.lowlevel.RunVar("watched")


def watch(one: trio.socket.SocketType, on_vanished: Callable[[], object]) -> None:
    """Call `on_vanished` if the socket's peer vanishes, until `forget`. No scope and no timer for each: connections
    that come and go by the thousand would all pay for it."""
    _sockets()[one] = on_vanished


def forget(one: trio.socket.SocketType) -> None:
    """Watch it no longer."""
    del _sockets()[one]


def _sockets() -> dict[trio.socket.SocketType, Callable[[], object]]:
    try:
        return _watched.get()
    except LookupError:
        sockets: dict[trio.socket.SocketType, Callable[[], object]] = {}
        _watched.set(sockets)
        trio.lowlevel.spawn_system_task(_look, sockets, name="muxpy vanished peers")
        return sockets


async def _look(sockets: dict[trio.socket.SocketType, Callable[[], object]]) -> None:
    while True:
        await trio.sleep(INTERVAL)
        for number, (one, on_vanished) in enumerate(list(sockets.items()), start=1):
            if one in sockets and unanswered_for(one) > LIMIT:
                on_vanished()
            if not number % SLICE:
                await trio.lowlevel.checkpoint()

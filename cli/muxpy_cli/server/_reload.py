"""New users and rules while sessions are open: what they do not allow any more ends, everything else goes on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ..access import Forbidden
from ..wire import Refused
from ._peer import what_holds_for

if TYPE_CHECKING:
    from .._options import ListenOptions
    from ..view import Console
    from ._bindings import Bindings
    from ._door import Door
    from ._peer import Peer

__all__ = ["look_again"]

LAST_WORDS: Final = 1.0
"""Seconds for whoever is cut off to read why."""


def look_again(peer: Peer, door: Door, options: ListenOptions, bindings: Bindings, console: Console) -> None:
    """Whether a peer may still be here, and go on with what it does."""
    if not _may_stay(peer, door):
        console.complain(f"cut off {peer.name}: the user may not come in any more", peer=peer.address, event="cut_off")
        with suppress(RuntimeError):  # the session ended this very moment: its nursery takes nobody any more
            peer.nursery.start_soon(_cut_off, peer)
        return
    peer.usage.change(*what_holds_for(peer.user, options))
    peer.set_rate()
    for stream, target in list(peer.targets.items()):
        try:
            peer.check_target(target)
        except Forbidden as error:
            console.complain(f"cut off {peer.name}: {error.reason}", peer=peer.address, event="cut_off")
            stream.reset()
    for binding in bindings:
        if binding.holder.peer is peer:
            try:
                binding.check(peer)
            except Forbidden as error:
                for stream in list(binding.account.open):
                    stream.reset()
                binding.holder.end(Refused("forbidden", f"{error.reason} any more"))


def _may_stay(peer: Peer, door: Door) -> bool:
    """Updates `peer.user` if so."""
    if not door.wants_user:
        return peer.user is None or peer.user.token is None  # known by a certificate, which its CA still vouches for
    if peer.user is None:
        return False
    user = door.users.by_name(peer.user.name)
    if user is None or user.token != peer.user.token:
        return False
    peer.user = user
    return True


async def _cut_off(peer: Peer) -> None:
    """End a session at once, but with words that its client can show."""
    for stream in list(peer.account.open):
        stream.reset()
    peer.session.go_away(muxpy.ErrorCode.CANCEL, b"the user may not come in any more")
    with trio.move_on_after(LAST_WORDS):
        await peer.session.aclose()

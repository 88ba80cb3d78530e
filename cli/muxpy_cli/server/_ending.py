"""What ends while all else goes on: what new rules do not allow any more, and connections that carry nothing."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ..access import Forbidden
from ..specs import format_address
from ..wire import Refused
from ._pauses import ENDING, Slices
from ._peer import NOT_WELCOME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._garbage import Garbage
    from ..view import Console
    from ._binding import Binding
    from ._bindings import Bindings
    from ._peer import Peer

__all__ = [
    "end_after_last_words",
    "follow_rules",
    "watch_idle",
]

LAST_WORDS: Final = 1.0
"""Seconds for a client that is cut off to read why."""
LOOKS: Final = 4
"""Times that each connection is looked at in the idle time-out: it may last a quarter longer than that."""
NO_LIMIT_PAUSE: Final = 5.0
"""Seconds between looks at whether a reload has set a time-out."""


async def follow_rules(peers: Iterable[Peer], bindings: Bindings, console: Console, garbage: Garbage) -> deque[Peer]:
    """End what is open and not allowed any more; the sessions that are to be ended after their last words. What begins
    is held to the new rules already, so this may take its time, and gives others their turn all along: there may be ten
    thousand sessions."""
    slices = Slices()
    leaving: deque[Peer] = deque()
    for peer in peers:
        if peer.revoked:
            _revoke(peer, bindings.of(peer), console)
            leaving.append(peer)
            garbage.session_ends()
            await slices.done(ENDING)
        else:
            peer.set_rate()
            peer.set_streams()
            await _look_at_targets(peer, slices, console)
            await _look_at_bindings(peer, bindings.of(peer), slices)
        await slices.done()
    return leaving


async def _look_at_targets(peer: Peer, slices: Slices, console: Console) -> None:
    for stream, target in list(peer.targets.items()):
        if stream not in peer.targets:  # it has ended since the last turn
            continue
        try:
            peer.check_target(target)
        except Forbidden as error:
            console.complain(f"cut off {peer.name}: {error.reason}", peer=peer.address, event="cut_off")
            stream.reset()
        await slices.done()


async def _look_at_bindings(peer: Peer, held: Iterable[Binding], slices: Slices) -> None:
    for binding in held:
        if binding.holder.peer is not peer:  # taken over since the last turn, by the new rules
            continue
        try:
            binding.check(peer)
        except Forbidden as error:
            for stream in list(binding.account.open):
                stream.reset()
            binding.holder.end(Refused("forbidden", f"{error.reason} any more"))
        await slices.done()


def _revoke(peer: Peer, held: Iterable[Binding], console: Console) -> None:
    """End a session immediately, but with words that its client can show."""
    console.complain(f"cut off {peer.name}: {NOT_WELCOME}", peer=peer.address, event="cut_off")
    for binding in held:
        binding.holder.end(Refused("forbidden", NOT_WELCOME))
    for stream in list(peer.account.open):
        stream.reset()
    peer.session.go_away(muxpy.ErrorCode.CANCEL, NOT_WELCOME.encode())
    with suppress(RuntimeError):  # the session ended this very moment: its nursery takes nobody any more
        peer.nursery.start_soon(peer.session.aclose)


async def end_after_last_words(leaving: deque[Peer]) -> None:
    """In turns, since to end a session is more work than to say goodbye. With a time limit for each, they would fall
    due faster than they can be ended, and each pass would find more of them than the one before. Each is let go of, or
    all that is left of five thousand sessions would be freed at one moment."""
    await trio.sleep(LAST_WORDS)
    slices = Slices()
    while leaving:
        peer = leaving.popleft()
        if not peer.over:
            peer.session.kill()
            await slices.done(ENDING)
        await slices.done()


async def watch_idle(
    limit: Callable[[], float | None],
    streams: Callable[[], Iterable[muxpy.Stream]],
    tell: Callable[[str], None],
) -> None:
    """Reset streams that have carried nothing for `limit()` seconds; None is no limit. `tell` is told of each.

    A look now and then, and no timer for each connection: that would cost each of its messages something.
    """
    seen: dict[muxpy.Stream, tuple[int, float]] = {}
    while True:
        seconds = limit()
        await trio.sleep(seconds / LOOKS if seconds else NO_LIMIT_PAUSE)
        if not seconds:
            seen.clear()
            continue
        now = trio.current_time()
        before, seen = seen, {}
        slices = Slices()
        for stream in list(streams()):
            await slices.done()
            carried = _carried(stream)
            last, since = before.get(stream, (carried, now))
            if last != carried:
                since = now
            elif now - since >= seconds:
                stream.reset()
                client = format_address(stream.remote_address)
                tell(f"closed a connection of {client} that carried nothing for {seconds:g} s")
                continue
            seen[stream] = carried, since


def _carried(stream: muxpy.Stream) -> int:
    figures = stream.statistics()
    return figures.data_received + figures.data_sent

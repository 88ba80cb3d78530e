"""The listening end: takes sessions, connects their streams to targets, binds places for them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

from .._errors import Failure, cut_text, describe, draining_text
from .._garbage import Garbage
from .._identity import program_version
from ..access import require_listen_protection
from ..net import bind_streams, guard, resolve
from ..specs import ALL_INTERFACES
from ..view import Snapshot
from ..wire import Refused
from ._bindings import Bindings
from ._door import Door, read_door
from ._ending import end_after_last_words, follow_rules, watch_idle
from ._entrance import Entrance
from ._pauses import ENDING, Slices
from ._peers import Peers, Survey
from ._streams import Streams
from ._turned_away import Tally
from ._visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import muxpy

    from .._options import ListenOptions
    from .._tracing import Trace
    from ..net import Bound
    from ..view import Console
    from ._door import Greeting, Welcome
    from ._entrance import Arrival
    from ._peer import Peer

__all__ = ["Server", "check_bound"]

OPENING_TIME: Final = 1.0
"""Seconds for the streams of connections that have been taken. It is a matter of turns of the event loop, unless the
client takes nothing any more."""


class Server:
    """Everything of one `muxpy listen`."""

    def __init__(self, options: ListenOptions, console: Console, trace: Trace | None = None) -> None:
        """Raises Failure if what the options name cannot be used."""
        self._options = options
        self._console = console
        self.trace = trace
        self._door = Door(options)
        self.tally = Tally(console)
        self.entrance = Entrance(self._visit, self.tally)
        self._peers = Peers(options)
        self._bindings = Bindings(self._peers.pick, console)
        self.streams = Streams(self._bindings, console)
        self._bound: Bound | None = None
        self._nursery: trio.Nursery
        self._started = time.time()
        self._ended = trio.lowlevel.ParkingLot()
        self._accepting = trio.CancelScope()
        self._garbage = Garbage()
        self.draining = False

    def listen_on(self, bound: Bound) -> None:
        """Listen on sockets that are bound already, and not where the options say."""
        self._bound = bound

    async def run(self, started: Callable[[], object]) -> None:
        """Serve until drained; calls `started` when it listens. Raises Failure if the address cannot be bound."""
        if self._bound is None:
            await _check_address(self._options)
            self._bound = await bind_streams(self._options.address)
        check_bound(self._options, self._bound)
        for one in self._bound.sockets:
            guard(one)
        with self._garbage:
            await self._serve(self._bound, started)

    async def _serve(self, bound: Bound, started: Callable[[], object]) -> None:
        async with trio.open_nursery() as self._nursery:
            self._bindings.run_in(self._nursery)
            self._nursery.start_soon(self.tally.run)
            self._nursery.start_soon(watch_idle, self._idle_timeout, self._peers.open_streams, self._console.detail)
            how = "with TLS" if self._options.tls is not None else "without TLS"
            self._console.line(f"listening on {bound} {how}", style="bold green", bound=str(bound), event="listening")
            if self._door.who.wants_user and not self._door.who.users:
                self._console.complain("there are no users, so nobody may connect: muxpy token new NAME makes one")
            started()
            with self._accepting:
                await self.entrance.serve(bound, self._nursery)
            while self._peers:
                await self._ended.park()
            self._nursery.cancel_scope.cancel()

    # ---- sessions ----

    async def _visit(self, arrival: Arrival) -> None:
        await Visit(self, self._door, arrival, self._console, self._options).run()

    def admit(self, session: muxpy.Session, greeting: Greeting, name: str, nursery: trio.Nursery) -> Peer:
        """Make a peer of a session whose client is known. Raises Refused."""
        if self.draining:  # nobody would end the session any more
            raise Refused("in use", "it is ending")
        peer = self._peers.admit(session, greeting, name, nursery)
        self._console.news(f"session with {peer.name}", peer=peer.address, user=peer.usage.name, event="session_opened")
        return peer

    def dismiss(self, peer: Peer, end: muxpy.SessionEnd | None) -> None:
        """Its session has ended."""
        self._peers.dismiss(peer)
        self._ended.unpark_all()
        self._garbage.session_ends()
        why = f": {describe(end.error)}" if end is not None and end.error is not None else ""
        self._console.news(
            f"session with {peer.name} has ended{why}", peer=peer.address, user=peer.usage.name, event="session_closed"
        )

    def _idle_timeout(self) -> float | None:
        return self._options.idle_timeout

    # ---- changing and ending ----

    async def reload(self, options: ListenOptions) -> None:
        """Serve by these from now on; what they do not allow any more ends. Raises Failure, with nothing changed."""
        if self._bound is not None:
            check_bound(options, self._bound)
        with self._garbage.paused():
            # In a thread: to parse a file with ten thousand users takes half a second.
            who = await trio.to_thread.run_sync(read_door, options)
            if options.address != self._options.address:
                self._console.complain(f"still listening on {self._bound}: another address takes a restart")
            self._use(options, who)
        leaving = await follow_rules(self._peers, self._bindings, self._console, self._garbage)
        if leaving:
            self._nursery.start_soon(end_after_last_words, leaving)  # the next reload need not wait for it

    def _use(self, options: ListenOptions, who: Welcome) -> None:
        self._options = options
        self._door.use(who)
        self._peers.use(options, who)

    async def drain(self) -> None:
        """Take nothing new, and let the streams that are open finish, for as long as the options say."""
        self.draining = True
        cut_before = self._peers.totals["cut"]
        count = len(self._peers.open_streams())
        if count:
            self._console.event(draining_text(count, self._options.drain), event="draining")
        # The ports are free before anybody hears of it: the next server may listen there, and clients go there.
        self._accepting.cancel()
        slices = Slices()
        if self._bound is not None:
            self._bound.close()
        for binding in self._bindings:
            binding.close()
            await slices.done()
        for peer in self._peers:
            peer.draining = True
        async with trio.open_nursery() as nursery:
            for peer in self._peers:
                nursery.start_soon(_end_in_order, peer)
                self._garbage.session_ends()
                await slices.done(ENDING)
        while self._peers:
            await self._ended.park()
        if cut := self._peers.totals["cut"] - cut_before:
            self._console.error(cut_text(cut, self._options.drain), event="cut_off")

    # ---- telling ----

    @property
    def ready(self) -> bool:
        """Whether sessions are taken."""
        return self._bound is not None and not self.draining

    @property
    def summary(self) -> str:
        """In a few words."""
        return f"listen {self._address}, {len(self._bindings)} forwards"

    @property
    def _address(self) -> str:
        return str(self._bound or self._options.address)

    async def snapshot(self, most: int | None = None) -> Snapshot:
        """For the views, with `most` sessions and forwards told one by one. In turns with everybody else."""
        slices = Slices()
        survey = Survey(
            self._peers.totals, most
        )  # with the peers that are here now: one that ends meanwhile counts once
        for peer in self._peers:
            survey.add(peer)
            await slices.done()
        forwards = []
        for binding in islice(self._bindings, most):
            forwards.append(binding.describe())
            await slices.done()
        return Snapshot(
            role="listen",
            address=self._address,
            version=program_version(),
            pid=os.getpid(),
            started=self._started,
            at=time.time(),
            ready=self.ready,
            draining=self.draining,
            sessions=tuple(survey.sessions),
            forwards=tuple(forwards),
            unlisted=replace(survey.unlisted, forwards=max(0, len(self._bindings) - len(forwards))),
            totals=survey.totals(refused=self.streams.refused, auth_failures=self._door.refusals.count),
            events=self._console.events,
        )


async def _check_address(options: ListenOptions) -> None:
    """Before anything is bound: raises Failure if the address must not be listened on like this."""
    host = options.address.host
    try:
        addresses = None if host == ALL_INTERFACES else await resolve(host)
    except OSError as error:
        raise Failure(f"cannot listen on {options.address}: {describe(error)}") from error
    _require_protection(options, options.address, addresses)


def check_bound(options: ListenOptions, bound: Bound) -> None:
    """What is really bound, which a service manager may have chosen, and new options, too: raises Failure likewise."""
    _require_protection(options, bound, bound.hosts)


def _require_protection(options: ListenOptions, place: object, addresses: Sequence[str] | None) -> None:
    require_listen_protection(
        place,
        addresses,
        tls=options.tls is not None,
        users=bool(options.tokens or options.users or (options.tls and options.tls.client_ca)),
        insecure=options.insecure,
    )


async def _end_in_order(peer: Peer) -> None:
    """No connection fails: neither one that has come for the client already, nor what the client has opened before it
    heard of this.

    To refuse a stream that is on its way would lose the first bytes of a local socket; to keep those for a retry would
    cost every connection a copy. So the session announces its end (a GOAWAY for ids that do not exist yet), goes on
    accepting streams, and sends the final GOAWAY when the client has answered with its own: nothing more may be opened
    from here either.
    """
    with trio.move_on_after(OPENING_TIME):
        await peer.all_opened()
    # The end of the session first, then those of its remote forwards: or the client would have to guess why they end.
    peer.session.go_away(final=False)
    peer.ending.set()  # or their streams would be waited for like a connection
    await peer.session.aclose(announce=True)

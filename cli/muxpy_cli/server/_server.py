"""The listening end: takes sessions, connects their streams to targets, binds places for them."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import trio

from .._errors import describe, draining_text
from .._identity import program_version
from .._statistics import write_statistics
from ..net import bind_streams
from ..view import Snapshot, Totals
from ..wire import Refused
from ._bindings import Bindings
from ._door import Door
from ._entrance import Entrance
from ._exposure import check_address, check_bound
from ._idle import watch_idle
from ._peer import Peer, Usage, what_holds_for
from ._reload import look_again
from ._streams import Streams
from ._tally import Tally
from ._visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    import muxpy

    from .._options import ListenOptions
    from .._tracing import Trace
    from ..access import User
    from ..net import Bound
    from ..view import Console
    from ._door import Greeting
    from ._entrance import Arrival

__all__ = ["Server"]


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
        self._peers: dict[muxpy.Session, Peer] = {}
        self._usages: dict[str, Usage] = {}
        self._bindings = Bindings(self._pick, console)
        self.streams = Streams(self._bindings, console)
        self._bound: Bound | None = None
        self._started = time.time()
        self._ended = trio.lowlevel.ParkingLot()
        self._accepting = trio.CancelScope()
        self._ended_totals = Counter[str]()  # of sessions that have ended
        self.draining = False

    def take(self, bound: Bound) -> None:
        """Listen on sockets that are bound already, and not where the options say."""
        self._bound = bound

    async def run(self, started: Callable[[], object]) -> None:
        """Serve until drained; calls `started` when it listens. Raises Failure if the address cannot be bound."""
        if self._bound is None:
            await check_address(self._options)
            self._bound = await bind_streams(self._options.address)
        check_bound(self._options, self._bound)
        async with trio.open_nursery() as nursery:
            self._bindings.run_in(nursery)
            nursery.start_soon(self.tally.run)
            nursery.start_soon(watch_idle, self._idle_timeout, self._open_streams, self._console.detail)
            how = "with TLS" if self._options.tls is not None else "without TLS"
            self._console.line(
                f"listening on {self._bound} {how}", style="bold green", bound=str(self._bound), event="listening"
            )
            if self._door.wants_user and not self._door.users:
                self._console.complain("there are no users, so nobody may connect: muxpy token new NAME makes one")
            started()
            with self._accepting:
                await self.entrance.serve(self._bound, nursery)
            while self._peers:
                await self._ended.park()
            nursery.cancel_scope.cancel()

    # ---- sessions ----

    async def _visit(self, arrival: Arrival) -> None:
        await Visit(self, self._door, arrival, self._console, self._options).run()

    def admit(self, session: muxpy.Session, greeting: Greeting, name: str, nursery: trio.Nursery) -> Peer:
        """Make a peer of a session whose client is known. Raises Refused."""
        if self.draining:  # nobody would end the session any more
            raise Refused("in use", "it is ending")
        usage = self._usage(greeting.user)
        self._end_replaced(greeting, usage)
        limit = usage.limits.sessions
        if limit is not None and usage.sessions >= limit:
            raise Refused("in use", f"max-sessions = {limit}: as many sessions are open")
        usage.sessions += 1
        self._ended_totals["sessions"] += 1
        peer = Peer(
            session,
            name,
            greeting.user,
            usage,
            greeting.client,
            greeting.process,
            greeting.slot,
            nursery,
        )
        self._peers[session] = peer
        self._console.news(f"session with {peer.name}", peer=name, user=usage.name, event="session_opened")
        return peer

    def dismiss(self, peer: Peer, end: muxpy.SessionEnd | None) -> None:
        """Its session has ended."""
        del self._peers[peer.session]
        peer.end()
        # What a bucket remembers must not be forgotten: who connects again would begin with a full one each time. Nor
        # what other sessions count: one that has ended may still deliver what came.
        if peer.usage.bucket is None and all(one.usage is not peer.usage for one in self._peers.values()):
            self._usages.pop(peer.usage.name, None)
        write_statistics(self._options.statistics, peer.session)
        figures = peer.session.statistics()
        self._ended_totals["received"] += figures.bytes_received
        self._ended_totals["sent"] += figures.bytes_sent
        self._ended_totals["connections"] += peer.account.total
        self._ended_totals["failed"] += peer.account.failed
        self._ended.unpark_all()
        why = f": {describe(end.error)}" if end is not None and end.error is not None else ""
        self._console.news(
            f"session with {peer.name} has ended{why}", peer=peer.address, user=peer.usage.name, event="session_closed"
        )

    def _usage(self, user: User | None) -> Usage:
        name = user.name if user is not None else ""
        holds = what_holds_for(user, self._options)
        if name in self._usages:  # it may be left from before a reload
            self._usages[name].change(*holds)
        else:
            self._usages[name] = Usage(name, *holds)
        return self._usages[name]

    def _end_replaced(self, greeting: Greeting, usage: Usage) -> None:
        """A client that comes back has lost its old session, even if we have not found out yet."""
        if not greeting.process:
            return
        for peer in list(self._peers.values()):
            if (peer.process, peer.slot, peer.usage) == (greeting.process, greeting.slot, usage):
                peer.session.kill(trio.BrokenResourceError("its client has connected again"))
                peer.end()

    def _pick(self, peer: Peer) -> Peer:
        """Of all sessions of the same run of a client, the one with the fewest connections."""
        same = [
            one
            for one in self._peers.values()
            if one.process == peer.process
            and one.usage is peer.usage
            and peer.process
            and not one.draining
            and not one.over
        ]
        return min(same, key=lambda one: len(one.account.open) + one.opening, default=peer)

    # ---- what goes on in them ----

    def _open_streams(self) -> list[muxpy.Stream]:
        return [stream for peer in self._peers.values() for stream in peer.account.open]

    def _idle_timeout(self) -> float | None:
        return self._options.idle_timeout

    # ---- changing and ending ----

    async def reload(self, options: ListenOptions) -> None:
        """Serve by these from now on; what they do not allow any more ends. Raises Failure, with nothing changed."""
        if self._bound is not None:
            check_bound(options, self._bound)
        self._door.use(options)
        if options.address != self._options.address:
            self._console.complain(f"still listening on {self._bound}: another address takes a restart")
        self._options = options
        for peer in list(self._peers.values()):
            look_again(peer, self._door, options, self._bindings, self._console)

    async def drain(self) -> None:
        """Take nothing new, and let the streams that are open finish, for as long as the options say."""
        self.draining = True
        count = len(self._open_streams())
        if count:
            self._console.event(draining_text(count), event="draining")
        self._accepting.cancel()
        async with trio.open_nursery() as nursery:
            for peer in self._peers.values():
                peer.draining = True
                peer.ending.set()  # or their streams would be waited for like a connection
                nursery.start_soon(peer.session.aclose)
        while self._peers:
            await self._ended.park()

    # ---- telling ----

    @property
    def ready(self) -> bool:
        """Whether sessions are taken."""
        return self._bound is not None and not self.draining

    def snapshot(self) -> Snapshot:
        """For the views."""
        peers = list(self._peers.values())
        sessions = tuple(peer.describe() for peer in peers)
        return Snapshot(
            role="listen",
            address=str(self._bound or self._options.address),
            version=program_version(),
            pid=os.getpid(),
            started=self._started,
            at=time.time(),
            ready=self.ready,
            draining=self.draining,
            sessions=sessions,
            forwards=tuple(binding.describe() for binding in self._bindings),
            totals=Totals(
                sessions=self._ended_totals["sessions"],
                connections=self._ended_totals["connections"] + sum(peer.account.total for peer in peers),
                failed=self._ended_totals["failed"] + sum(peer.account.failed for peer in peers),
                refused=self.streams.refused,
                auth_failures=self._door.refusals.count,
                received=self._ended_totals["received"] + sum(one.received for one in sessions),
                sent=self._ended_totals["sent"] + sum(one.sent for one in sessions),
            ),
            events=self._console.events,
        )

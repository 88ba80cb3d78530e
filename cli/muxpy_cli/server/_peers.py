"""All sessions that are served, and their users, by what they are asked for: no question walks through all of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import trio

from ..view import SessionState, Totals, Unlisted
from ..wire import Refused
from ._peer import Peer
from ._usage import Usage, limit_reached, what_holds_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import muxpy

    from .._options import ListenOptions
    from ..access import User
    from ._door import Greeting, Welcome

__all__ = ["Peers", "Survey"]

_Key = TypeVar("_Key")


class Peers:
    """Those that have logged in and whose connections have not all ended, oldest first."""

    def __init__(self, options: ListenOptions) -> None:
        self._options = options
        # Dictionaries without values: sets that keep their order.
        self._all: dict[Peer, None] = {}
        self._users: dict[Usage, dict[Peer, None]] = {}
        self._runs: dict[tuple[Usage, str], dict[Peer, None]] = {}
        self._usages: dict[str, Usage] = {}
        self._resting: dict[str, Usage] = {}  # of users without a session, in the order of becoming so
        self.totals = Counter[str]()
        """Of sessions that have ended; "sessions" are all that there ever were."""

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Peer]:
        """A copy: whoever walks through it may let others have their turn, and some of them end meanwhile."""
        return iter(list(self._all))

    def admit(self, session: muxpy.Session, greeting: Greeting, address: str, nursery: trio.Nursery) -> Peer:
        """Make a peer of a session whose client is known. Raises Refused."""
        usage = self._usage(greeting.user)
        self._end_replaced(greeting, usage)
        limit = usage.limits.sessions
        if limit is not None and usage.sessions >= limit:
            raise Refused("in use", limit_reached("as many sessions are open", "max-sessions", limit))
        usage.sessions += 1
        self.totals["sessions"] += 1
        peer = Peer(
            session=session,
            address=address,
            user=greeting.user,
            usage=usage,
            client=greeting.client,
            process=greeting.process,
            slot=greeting.slot,
            nursery=nursery,
        )
        self._all[peer] = None
        self._users.setdefault(usage, {})[peer] = None
        self._runs.setdefault((usage, peer.process), {})[peer] = None
        return peer

    def dismiss(self, peer: Peer) -> None:
        """Nothing of it goes on."""
        peer.end()
        del self._all[peer]
        _discard(self._users, peer.usage, peer)
        _discard(self._runs, (peer.usage, peer.process), peer)
        # Not as long as another session counts on it, even one that has ended: it may still deliver what came.
        if peer.usage not in self._users:
            self._resting[peer.usage.name] = peer.usage
            self._forget_rested()
        figures = peer.session.statistics()
        self.totals["received"] += figures.bytes_received
        self.totals["sent"] += figures.bytes_sent
        self.totals["connections"] += peer.account.total
        self.totals["failed"] += peer.account.failed
        self.totals["cut"] += peer.account.cut

    def use(self, options: ListenOptions, who: Welcome) -> None:
        """From this moment on nothing begins that was allowed only before. What is open already is looked at later: it
        takes its time, and this must not."""
        self._options = options
        for usage in self._usages.values():
            user = who.users.by_name(usage.name)
            if user is not None or not who.wants_user:  # otherwise its sessions end, by the rules that they had
                usage.change(*what_holds_for(user, options))
        for peer in self._all:
            peer.revoked = not _may_stay(peer, who)

    def pick(self, peer: Peer) -> Peer:
        """Of all sessions of the same run of a client, the one with the fewest connections."""
        same = [one for one in self._same_run(peer.usage, peer.process) if one.takes_work]
        return min(same, key=lambda one: len(one.account.open) + one.opening, default=peer)

    def open_streams(self) -> list[muxpy.Stream]:
        """Those of all connections."""
        return [stream for peer in self._all for stream in peer.account.open]

    def _same_run(self, usage: Usage, process: str) -> list[Peer]:
        """The parallel sessions of one run of a client; none for a client that does not say which run it is."""
        return list(self._runs.get((usage, process), ())) if process else []

    def _usage(self, user: User | None) -> Usage:
        name = user.name if user is not None else ""
        holds = what_holds_for(user, self._options)
        self._resting.pop(name, None)
        if name in self._usages:  # it may be left from before a reload
            self._usages[name].change(*holds)
        else:
            self._usages[name] = Usage(name, *holds)
        return self._usages[name]

    def _forget_rested(self) -> None:
        """What a bucket remembers must not be forgotten, or whoever connects again would begin with a full one each
        time. But once it is full there is nothing to remember, and users come and go for as long as this runs."""
        while self._resting:
            name, usage = next(iter(self._resting.items()))
            if not usage.rested:
                return
            del self._resting[name], self._usages[name]

    def _end_replaced(self, greeting: Greeting, usage: Usage) -> None:
        """A client that comes back has lost its old session, even if we have not found out yet; or it leaves it in
        order, since one of us has said that it ends."""
        same = [peer for peer in self._same_run(usage, greeting.process) if peer.slot == greeting.slot]
        for peer in [peer for peer in same if not peer.over]:
            if peer.session.going_away and peer.session.end is None:
                for before in same:
                    if before.over:  # one beside the limit is enough
                        _kill(before)
                peer.draining = True
                peer.nursery.start_soon(peer.session.aclose)
            else:
                _kill(peer)
            peer.end()


class Survey:
    """Sums over sessions, and the state of the first ones."""

    def __init__(self, before: Counter[str], most: int | None) -> None:
        """`before` is what ended sessions have come to; of the others, `most` are told one by one. None: all."""
        self._sums = before.copy()
        self._most = most
        self._draining = 0
        self._unlisted = 0
        self.sessions: list[SessionState] = []

    def add(self, peer: Peer) -> None:
        """Look at one more session."""
        figures = peer.session.statistics()
        self._sums["received"] += figures.bytes_received
        self._sums["sent"] += figures.bytes_sent
        self._sums["connections"] += peer.account.total
        self._sums["failed"] += peer.account.failed
        if self._most is None or len(self.sessions) < self._most:
            self.sessions.append(peer.describe(figures))
        else:
            self._unlisted += 1
            self._draining += peer.draining

    @property
    def unlisted(self) -> Unlisted:
        """The sessions that are only counted."""
        return Unlisted(sessions=self._unlisted, draining=self._draining)

    def totals(self, *, refused: int, auth_failures: int) -> Totals:
        """With what does not belong to a session."""
        names = "sessions", "connections", "failed", "received", "sent"
        return Totals(**{name: self._sums[name] for name in names}, refused=refused, auth_failures=auth_failures)


def _may_stay(peer: Peer, who: Welcome) -> bool:
    """Whether a peer could come in now; updates `peer.user` if so."""
    if not who.wants_user:
        return peer.user is None or peer.user.token is None  # known by a certificate, which its CA still vouches for
    if peer.user is None:
        return False
    user = who.users.by_name(peer.user.name)
    if user is None or user.token != peer.user.token:
        return False
    peer.user = user
    return True


def _kill(peer: Peer) -> None:
    peer.session.kill(trio.BrokenResourceError("its client has connected again"))


def _discard(groups: dict[_Key, dict[Peer, None]], key: _Key, peer: Peer) -> None:
    group = groups[key]
    del group[peer]
    if not group:
        del groups[key]

"""The state of a process at one moment, and the rates of snapshots that follow each other.

All views are made from it, on demand: the live display, the tables of `muxpy status` and the metrics cannot disagree,
and cost nothing while nobody looks. Sizes are bytes, times are seconds, `since` and `at` are Unix times.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

__all__ = ["Event", "ForwardState", "Rates", "SessionState", "Snapshot", "Speed", "TakeSnapshot", "Totals", "Unlisted"]

RATE_WINDOW: Final = 2.0
"""Seconds over which a rate is averaged: rates over less time jump, over more they lag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """One session, or one that is being connected."""

    peer: str
    """The other end's address."""
    state: str
    """connecting, waiting (for the next attempt), connected or draining."""
    user: str | None = None
    since: float | None = None
    """When it was connected."""
    streams: int = 0
    """Open now."""
    opened: int = 0
    """Opened so far, by either end."""
    received: int = 0
    sent: int = 0
    rtt: float | None = None
    tls: str | None = None
    """Version and cipher; None without TLS."""
    attempts: int = 0
    """Failed attempts in a row."""
    error: str | None = None
    """Why the last attempt failed, or the last session ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardState:
    """One forward."""

    name: str
    direction: str
    """local: bound at the connecting end. remote: bound at the listening end."""
    kind: str
    """tcp, udp, socks or http."""
    bind: str
    """Where it is bound; while it is not, where it should be."""
    target: str | None
    """None if each connection names its own."""
    state: str = "bound"
    """bound, waiting, draining or failed."""
    user: str | None = None
    connections: int = 0
    """Open now."""
    total: int = 0
    """Accepted so far."""
    failed: int = 0
    """Of those, refused by the target, a rule or the other end."""
    received: int = 0
    """Bytes from the side where it is bound."""
    sent: int = 0
    """Bytes to the side where it is bound."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened recently."""

    at: float
    level: str
    """info, warning or error."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counters from the start of the process."""

    sessions: int = 0
    """Sessions that were set up."""
    connections: int = 0
    """Forwarded connections accepted."""
    failed: int = 0
    """Of those, the ones that reached no target."""
    refused: int = 0
    """Connections and forwards that a rule or a limit refused."""
    auth_failures: int = 0
    received: int = 0
    """Bytes received on all sessions, including those that have ended."""
    sent: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted:
    """How many there are besides those that a snapshot lists."""

    sessions: int = 0
    draining: int = 0
    """Of these sessions; the others are connected."""
    forwards: int = 0
    """All of them bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at about one time: with many sessions it takes a moment, during which other tasks run."""

    role: str
    """listen or connect."""
    address: str
    """Where it listens, or what it connects to."""
    version: str
    pid: int
    started: float
    at: float
    ready: bool
    """listen: accepts sessions. connect: has a session, and every forward is bound."""
    draining: bool = False
    sessions: tuple[SessionState, ...] = ()
    forwards: tuple[ForwardState, ...] = ()
    unlisted: Unlisted = field(default_factory=Unlisted)
    totals: Totals = field(default_factory=Totals)
    events: tuple[Event, ...] = ()
    """The latest, oldest first."""


class TakeSnapshot(Protocol):
    """How a view asks for a snapshot."""

    async def __call__(self, most: int | None = None) -> Snapshot:
        """The present state, which lists the oldest `most` sessions and as many forwards. None: all."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Bytes a second. None: not known yet."""

    received: float | None = None
    sent: float | None = None


_Counters: TypeAlias = SessionState | ForwardState | Totals
_State = TypeVar("_State", SessionState, ForwardState)


class Rates:
    """Keeps the snapshots of the last RATE_WINDOW seconds."""

    def __init__(self) -> None:
        self._snapshots: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> None:
        """Add the present snapshot. One that is older than the last (the clock was set back) starts afresh."""
        if self._snapshots and snapshot.at <= self._snapshots[-1].at:
            self._snapshots.clear()
        self._snapshots.append(snapshot)
        while len(self._snapshots) > 2 and self._snapshots[1].at <= snapshot.at - RATE_WINDOW:
            self._snapshots.popleft()

    def totals(self) -> Speed:
        """The rate of all sessions together."""
        return self._rate(self._snapshots[0].totals, self._snapshots[-1].totals)

    def sessions(self, count: int) -> list[Speed]:
        """The rates of the first `count`, in the order of the last snapshot."""
        first, last = self._snapshots[0].sessions, self._snapshots[-1].sessions
        return self._matched(_numbered(first, _session_key), _numbered(last[:count], _session_key))

    def forwards(self, count: int) -> list[Speed]:
        """The rates of the first `count`, in the order of the last snapshot."""
        first, last = self._snapshots[0].forwards, self._snapshots[-1].forwards
        return self._matched(_numbered(first, _forward_key), _numbered(last[:count], _forward_key))

    def _matched(
        self, first: Iterable[tuple[Hashable, _Counters]], last: Iterable[tuple[Hashable, _Counters]]
    ) -> list[Speed]:
        before = dict(first)
        return [self._rate(before.get(key), now) for key, now in last]

    def _rate(self, before: _Counters | None, now: _Counters) -> Speed:
        seconds = self._snapshots[-1].at - self._snapshots[0].at
        if before is None or seconds <= 0 or now.received < before.received or now.sent < before.sent:
            return Speed()  # it is new, or took the place and the name of another
        return Speed((now.received - before.received) / seconds, (now.sent - before.sent) / seconds)


def _session_key(session: SessionState) -> Hashable:
    return session.peer, session.since


def _forward_key(forward: ForwardState) -> Hashable:
    return forward.direction, forward.kind, forward.bind, forward.name, forward.user


def _numbered(states: Iterable[_State], key: Callable[[_State], Hashable]) -> Iterator[tuple[Hashable, _State]]:
    """Each with a unique key: those of one name are the first, the second ..."""
    seen: Counter[Hashable] = Counter()
    for state in states:
        name = key(state)
        seen[name] += 1
        yield (name, seen[name]), state

"""The state of a process at one moment. All views are made from it: the live display, the tables of `muxpy status`, the
metrics. Sizes are bytes, times are seconds, `since` and `at` are Unix times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Event", "ForwardState", "SessionState", "Snapshot", "TakeSnapshot", "Totals", "Unlisted"]


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
    """bound, waiting or failed."""
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

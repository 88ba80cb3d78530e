"""Whom the listening end serves: sessions, and the users they belong to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

import muxpy

from ..access import Forbidden, Grants, Limits, TokenBucket, negotiated
from ..relay import RESET_RATE, Account
from ..specs import UnixPath
from ..view import SessionState
from ..wire import Refused
from ._policy import UserPolicy

if TYPE_CHECKING:
    from .._options import ListenOptions
    from ..access import User
    from ..specs import Endpoint

__all__ = ["Peer", "Target", "Usage", "what_holds_for"]


class Usage:
    """What one user has at once, over all sessions; everybody without a name counts as one."""

    def __init__(self, name: str, grants: Grants, limits: Limits) -> None:
        self.name = name
        self.grants = grants
        self.limits = limits
        self.sessions = 0
        self.streams = 0
        self.forwards = 0
        self.policy = UserPolicy(name, lambda: self.grants)
        self.bucket = _bucket(limits.rate)
        # However many sessions a user has, they are one party: they share turns of the loop, and the budget of resets.
        self.group = muxpy.SessionGroup(muxpy.SessionConfig(reset_rate=RESET_RATE))

    def change(self, grants: Grants, limits: Limits) -> None:
        """New rules and limits, for connections that come from now on."""
        if limits.rate != self.limits.rate:
            self.bucket = _bucket(limits.rate)
        self.grants, self.limits = grants, limits


def _bucket(rate: int | None) -> TokenBucket | None:
    return TokenBucket(rate, trio.current_time) if rate is not None else None


def what_holds_for(user: User | None, options: ListenOptions) -> tuple[Grants, Limits]:
    """What a user may do: what is said for this one, or else for all."""
    if user is None:
        return options.grants, options.limits
    return user.grants or options.grants, user.limits or options.limits


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection goes: what was asked for, and which of its addresses that was."""

    endpoint: Endpoint
    address: str


def _address_of(near: trio.socket.SocketType) -> str:
    try:
        name = near.getpeername()
    except OSError:  # the target has reset it already
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


class PeerCarrying:
    """A connection of a peer that is open. A class for what it costs, like that of an account."""

    __slots__ = ("_peer", "_stream")

    def __init__(self, peer: Peer, stream: muxpy.Stream) -> None:
        self._peer = peer
        self._stream = stream

    def __enter__(self) -> None:
        self._peer.usage.streams += 1
        self._peer.account.total += 1
        self._peer.account.open.add(self._stream)

    def __exit__(self, *_: object) -> None:
        self._peer.usage.streams -= 1
        self._peer.account.end(self._stream)


@dataclass(eq=False)
class Peer:
    """A session that is being served, once it is known whose it is."""

    session: muxpy.Session
    address: str
    user: User | None
    usage: Usage
    client: str
    process: str
    slot: int
    nursery: trio.Nursery
    since: float = field(default_factory=time.time)
    ending: trio.Event = field(default_factory=trio.Event)
    """Its remote forwards take no more connections."""
    targets: dict[muxpy.Stream, Target] = field(default_factory=dict)
    """Where the connections go that its client wanted, for when the rules change."""
    account: Account = field(default_factory=Account)
    opening: int = 0
    """Connections to its remote forwards that have no stream yet."""
    bucket: TokenBucket | None = None
    draining: bool = False
    over: bool = False
    """Its session has ended, or is as good as ended; connections that it carried may still deliver what came."""

    def __post_init__(self) -> None:
        self.set_rate()

    def set_rate(self) -> None:
        """Limit the session's rate as its user's limits say now."""
        rate = self.usage.limits.session_rate
        if self.bucket is None or rate != self.bucket.rate:  # a new one would be full again
            self.bucket = _bucket(rate)

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"{self.usage.name} at {self.address}" if self.usage.name else self.address

    @property
    def buckets(self) -> list[TokenBucket]:
        """What limits the rate of its connections."""
        return [bucket for bucket in (self.bucket, self.usage.bucket) if bucket is not None]

    def check_room(self) -> None:
        """Raises Refused if the user has as many connections open as he may."""
        most = self.usage.limits.streams
        if most is not None and self.usage.streams >= most:
            raise Refused("failed", f"max-streams = {most}: as many connections are open")

    def carrying(self, stream: muxpy.Stream) -> PeerCarrying:
        """Count a connection while the block runs. Raises Refused like `check_room`."""
        self.check_room()
        return PeerCarrying(self, stream)

    def note_target(
        self, grants: Grants, stream: muxpy.Stream, endpoint: Endpoint, near: trio.socket.SocketType
    ) -> None:
        """Remember which address a connection goes to, for when the rules change. Raises Refused if they have changed
        since `grants` let it through, while it was being made, and do not allow it any more."""
        target = Target(endpoint, _address_of(near))
        if grants is not self.usage.grants:
            try:
                self.check_target(target)
            except Forbidden as error:
                raise Refused("forbidden", error.reason) from None
        self.targets[stream] = target

    def check_target(self, target: Target) -> None:
        """Raises Forbidden if the rules do not allow it."""
        if isinstance(target.endpoint, UnixPath):
            self.usage.policy.path(target.endpoint)
        else:
            self.usage.policy.addresses(target.endpoint, [target.address])

    def end(self) -> None:
        """Its session is over, and counts as one of its user's no longer."""
        if not self.over:
            self.over = True
            self.usage.sessions -= 1

    @property
    def owner(self) -> tuple[str, str]:
        """Who may take over what it has bound."""
        return self.usage.name, self.client or self.process

    def describe(self) -> SessionState:
        """For the views."""
        figures = self.session.statistics()
        return SessionState(
            peer=self.address,
            state="draining" if self.draining else "connected",
            user=self.usage.name or None,
            since=self.since,
            streams=len(self.account.open),
            opened=self.account.total,
            received=figures.bytes_received,
            sent=figures.bytes_sent,
            rtt=figures.rtt,
            tls=negotiated(self.session.tls),
        )

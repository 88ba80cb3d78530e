"""One session that the listening end serves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from ..access import Forbidden, known_addresses, negotiated
from ..entrances import Places
from ..relay import Account, Rate
from ..specs import Address, UnixPath
from ..view import SessionState
from ..wire import Refused
from ._usage import limit_reached

if TYPE_CHECKING:
    import muxpy

    from ..access import Rules, User
    from ..net import Socket
    from ..specs import Endpoint
    from ._usage import Usage

__all__ = ["NOT_WELCOME", "Peer"]

NOT_WELCOME: Final = "the user may not come in any more"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection goes: what was asked for, and which of its addresses that was."""

    endpoint: Endpoint
    address: str


def _address_of(endpoint: Endpoint, near: Socket) -> str:
    if isinstance(endpoint, Address) and (known := known_addresses(endpoint.host)) is not None and len(known) == 1:
        return known[0]  # it was asked for, so there is nothing to ask
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._peer.usage.streams -= 1
        self._peer.account.end(self._stream, kind)


@dataclass(eq=False, kw_only=True)
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
    flows: Places = field(init=False)
    """For UDP through its remote forwards."""
    opening: int = 0
    """Connections to its remote forwards that have no stream yet."""
    revoked: bool = False
    """Its user may not come in any more: nothing new begins, from the moment of the reload that says so."""
    own_rate: Rate | None = None
    """Of this session alone; `set_rate` makes it."""
    draining: bool = False
    over: bool = False
    """Its session has ended, or is as good as ended; connections that it carried may still deliver what came."""

    _opened: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def __post_init__(self) -> None:
        self.flows = Places(self.usage.most_flows)
        self.set_rate()
        self.set_streams()

    def set_streams(self) -> None:
        """Take as many streams as its user's limits allow now."""
        self.session.allow_streams(self.usage.session_streams())

    def set_rate(self) -> None:
        """Limit the session's rate as its user's limits say now."""
        wanted, shared = self.usage.limits.session_rate, self.usage.rate
        if wanted is None:
            self.own_rate = None
        elif self.own_rate is None:
            self.own_rate = Rate(wanted, shared, full=False)  # nothing must be gained by connecting again
        else:
            self.own_rate.change(wanted)
            self.own_rate.outer = shared

    @property
    def rate(self) -> Rate | None:
        """What limits the rate of its connections: the session's, within the user's."""
        return self.own_rate or self.usage.rate

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"{self.usage.name} at {self.address}" if self.usage.name else self.address

    @property
    def takes_work(self) -> bool:
        """Whether connections may be given to it."""
        return not (self.draining or self.over or self.revoked or self.session.going_away)

    def check_welcome(self) -> None:
        """Raises Refused if its user may not come in any more."""
        if self.revoked:
            raise Refused("forbidden", NOT_WELCOME)

    def check_room(self) -> None:
        """Raises Refused if the user has as many connections open as the limits allow."""
        most = self.usage.limits.streams
        if most is not None and self.usage.streams >= most:
            raise Refused("limit", limit_reached("as many connections are open", "max-streams", most))

    def carrying(self, stream: muxpy.Stream) -> PeerCarrying:
        """Count a connection while the block runs. Raises Refused like `check_room`."""
        self.check_room()
        return PeerCarrying(self, stream)

    def note_target(self, rules: Rules, stream: muxpy.Stream, endpoint: Endpoint, near: Socket) -> None:
        """Remember which address a connection goes to, for when the rules change. Raises Refused if they have changed
        since `rules` let it through, while it was being made, and do not allow it any more."""
        self.check_welcome()
        target = Target(endpoint, _address_of(endpoint, near))
        if rules is not self.usage.rules:
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

    def has_opened(self) -> None:
        """One of those that were `opening` has its stream, or will have none."""
        self.opening -= 1
        self._opened.unpark_all()

    async def all_opened(self) -> None:
        """Wait until none is `opening`."""
        while self.opening:
            await self._opened.park()

    def end(self) -> None:
        """Its session is over, and counts as one of its user's no longer."""
        if not self.over:
            self.over = True
            self.usage.sessions -= 1

    @property
    def owner(self) -> tuple[str, str]:
        """Who may take over what it has bound."""
        return self.usage.name, self.client or self.process

    def describe(self, figures: muxpy.SessionStatistics) -> SessionState:
        """For the views; `figures` are its session's."""
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

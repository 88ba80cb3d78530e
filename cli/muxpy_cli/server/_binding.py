"""One place that is bound here at the wish of a connecting end (-R)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._errors import counted, unexpected
from ..access import Forbidden
from ..entrances import Flows, Route
from ..net import (
    Bound,
    peer_of,
)
from ..relay import Account, Unanswered, abort, carry, used_up
from ..specs import Address
from ..view import ForwardState
from ..wire import Purpose, Refused, pack

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    import muxpy

    from ..specs import Endpoint
    from ..view import Console
    from ._peer import Peer

__all__ = ["Binding", "Holder"]


@dataclass(eq=False)
class Holder:
    """For whom a place is bound at present: a peer, and its number for the forward."""

    peer: Peer
    number: int
    over: trio.Event = field(default_factory=trio.Event)
    """Set when it is bound for this one no longer."""
    reason: Refused | None = None
    """Why, if it was not the peer's wish."""

    def end(self, reason: Refused | None = None) -> None:
        """It is bound for this one no longer."""
        self.reason = self.reason or reason
        self.over.set()


class Binding:
    """One place."""

    def __init__(
        self,
        place: Endpoint,
        bound: Bound,
        holder: Holder,
        pick: Callable[[Peer], Peer],
        console: Console,
        *,
        datagrams: bool,
    ) -> None:
        self.asked = place
        """As it was asked for: the rules may allow port 0, and not the port that this has become."""
        self.place = place
        self.bound = bound
        self.text = str(bound)
        self.holder = holder
        self.datagrams = datagrams
        self.account = Account()
        self._pick = pick
        self._console = console
        self._scope = trio.CancelScope()

    def check(self, peer: Peer) -> None:
        """Whether the rules of `peer` allow it now; raises Forbidden if not."""
        try:
            peer.usage.policy.bind(self.place)
        except Forbidden:
            peer.usage.policy.bind(self.asked)

    async def serve(self, nursery: trio.Nursery) -> None:
        """Take connections until closed."""
        with self._scope:
            if self.datagrams:
                await Flows(self.bound, self._route, self.account, self._complain).serve(nursery)
            else:
                await self.bound.serve(lambda near, _: self._carry(near))

    def close(self) -> None:
        """Take no more connections than those that have come already."""
        self._scope.cancel()
        self.bound.finish()

    def _carry(self, near: socket.socket) -> None:
        """Over some session of the client, and no longer than that session lasts."""
        peer = self._choose()
        if peer.revoked:
            peer.has_opened()
            abort(near)
            return
        try:
            peer.nursery.start_soon(self._carry_for, peer, near)
        except RuntimeError:  # the session ended this very moment: its nursery takes nobody any more
            peer.has_opened()
            abort(near)

    def _choose(self) -> Peer:
        peer = self._pick(self.holder.peer)
        peer.opening += 1  # before it is open: a burst of connections must not all go where there is nothing yet
        return peer

    async def _carry_for(self, peer: Peer, near: socket.socket) -> None:
        here = near.getsockname()
        opening = self._opening(peer_of(near), here)
        self.account.total += 1
        try:
            await carry(near, partial(_open, peer), opening, partial(self._carrying, peer), peer.rate)
        except (Refused, Unanswered, trio.BrokenResourceError) as error:
            self.account.failed += 1
            self._complain(error)
        except Exception as error:  # whatever it is, it must not end the session
            self._console.error(f"connection to {self.text}: {unexpected(error)}", bound=self.text)
        else:
            if self._console.detailed:
                self._console.detail(
                    f"connection to {self.text} for {peer.name} has ended", bound=self.text, event="connection_closed"
                )

    @contextmanager
    def _carrying(self, peer: Peer, stream: muxpy.Stream) -> Iterator[None]:
        with self.account.carrying(stream), peer.carrying(stream):
            yield

    def _opening(self, client: tuple[str, int] | None, here: object) -> bytes:
        local = here[:2] if isinstance(here, tuple) else None
        return pack({"forward": self.holder.number, "peer": client, "local": local})

    def _route(self, client: tuple[str, int]) -> Route:
        """For a UDP flow: it is a connection of the user, as one over TCP. Raises Refused."""
        peer = self._pick(self.holder.peer)
        peer.check_welcome()
        peer.check_room()
        here = self.place
        local = (here.host, self.bound.port) if isinstance(here, Address) else None
        return Route(
            places=peer.flows,
            open_stream=partial(self._open_flow, peer),
            opening=self._opening(client, local),
            carrying=partial(self._carrying, peer),
            pacer=peer.rate,
        )

    @staticmethod
    async def _open_flow(peer: Peer) -> muxpy.Stream:
        peer.opening += 1
        return await _open(peer)

    def _complain(self, error: BaseException, times: int = 1) -> None:
        self._console.complain(
            f"{self.text} for {self.holder.peer.name}: {counted(error, times)}",
            bound=self.text,
            event="connection_failed",
        )

    def describe(self) -> ForwardState:
        """For the views."""
        received, sent = self.account.bytes()
        return ForwardState(
            name="",
            direction="remote",
            kind="udp" if self.datagrams else "tcp",
            bind=self.text,
            target=self.holder.peer.address,
            user=self.holder.peer.usage.name or None,
            connections=len(self.account.open),
            total=self.account.total,
            failed=self.account.failed,
            received=sent,
            sent=received,
        )


async def _open(peer: Peer) -> muxpy.Stream:
    session = peer.session
    try:
        try:
            stream = session.open_stream_nowait(stream_type=Purpose.FORWARDED)
        except trio.WouldBlock:
            stream = await session.open_stream(stream_type=Purpose.FORWARDED)
        if used_up(stream):  # the client connects anew; what is open has the time that draining gives
            peer.nursery.start_soon(session.aclose)
        return stream
    finally:
        peer.has_opened()

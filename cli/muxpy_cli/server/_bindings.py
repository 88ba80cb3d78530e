"""Places that are bound here at the wish of connecting ends (-R)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._errors import Failure, counted, describe, unexpected
from ..access import Forbidden, known_addresses
from ..entrances import Flows, Route
from ..net import (
    CONNECT_TIMEOUT,
    Bound,
    bind_datagrams,
    bind_streams,
    peer_of,
    resolve,
)
from ..relay import Account, Unanswered, abort, carry, used_up
from ..specs import ALL_INTERFACES, Address, UnixPath
from ..view import ForwardState
from ..wire import Purpose, Refused, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import muxpy

    from ..specs import Endpoint
    from ..view import Console
    from ._peer import Peer

__all__ = ["Binding", "Bindings", "Holder"]


@dataclass(eq=False)
class Holder:
    """For whom a place is bound at present: a peer, and its number for the forward."""

    peer: Peer
    number: int
    over: trio.Event = field(default_factory=trio.Event)
    """It is bound for this one no longer."""
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
                await self.bound.serve_with(self._carry)

    def close(self) -> None:
        """Take no more connections than those that have come already."""
        self._scope.cancel()
        self.bound.finish()

    def _carry(self, near: trio.SocketStream) -> None:
        """Over some session of the client, and no longer than that session lasts."""
        peer = self._choose()
        if peer.revoked:
            peer.opening -= 1
            abort(near)
            return
        try:
            peer.nursery.start_soon(self._carry_for, peer, near)
        except RuntimeError:  # the session ended this very moment: its nursery takes nobody any more
            peer.has_opened()
            abort(near)

    def _choose(self) -> Peer:
        peer = self._pick(self.holder.peer)
        peer.opening += 1  # at once: a burst of connections must not all go where there is nothing yet
        return peer

    async def _carry_for(self, peer: Peer, near: trio.SocketStream) -> None:
        here = near.socket.getsockname()
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
    try:
        stream = await peer.session.open_stream(stream_type=Purpose.FORWARDED)
        if used_up(stream):  # the client connects anew; what is open has the time that draining gives
            peer.nursery.start_soon(peer.session.aclose)
        return stream
    finally:
        peer.has_opened()


class Bindings:
    """All places that are bound, by place and by who holds them: a reload and a login ask for a few of many."""

    def __init__(self, pick: Callable[[Peer], Peer], console: Console) -> None:
        """`pick(peer)` says over which of a client's sessions the next connection goes."""
        self._pick = pick
        self._console = console
        self._nursery: trio.Nursery
        self._at: dict[tuple[Endpoint, bool], Binding] = {}
        self._of: dict[Peer, dict[Binding, None]] = {}  # a dictionary without values: a set that keeps its order

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[Binding]:
        """A copy: whoever walks through it may let others have their turn."""
        return iter(list(self._at.values()))

    def of(self, peer: Peer) -> list[Binding]:
        """Those that are bound for a peer at present."""
        return list(self._of.get(peer, ()))

    def run_in(self, nursery: trio.Nursery) -> None:
        """Serve what is bound from now on in `nursery`."""
        self._nursery = nursery

    async def take(self, peer: Peer, place: Endpoint, number: int, *, datagrams: bool) -> tuple[Binding, Holder]:
        """Bind a place for a peer, or let it take over what its client had bound. Raises Refused."""
        asked, place = place, await self._numeric(peer, place)
        holder = Holder(peer, number)
        binding = self._at.get((place, datagrams))
        if binding is not None and binding.holder.peer.owner == peer.owner:
            self._check(binding, peer)
            self._take_over(binding, holder)
            return binding, holder
        self._check_place(place, asked, peer)
        bound = await _bind(place, asked, datagrams=datagrams)
        binding = Binding(place, bound, holder, self._pick, self._console, datagrams=datagrams)
        try:
            self._check(binding, peer)  # the rules may have changed while a name was looked up
        except Refused:
            bound.close()
            raise
        self._add(binding)
        return binding, holder

    def _add(self, binding: Binding) -> None:
        peer, place = binding.holder.peer, binding.place
        if isinstance(place, Address):  # with the real port, by which it is asked for again
            binding.place = Address(place.host, binding.bound.port)
        self._at[binding.place, binding.datagrams] = binding
        self._of.setdefault(peer, {})[binding] = None
        self._nursery.start_soon(binding.serve, self._nursery)
        self._console.news(
            f"forwarding {binding.text} -> {peer.name}", bound=binding.text, user=peer.usage.name, event="forward_bound"
        )

    def _take_over(self, binding: Binding, holder: Holder) -> None:
        before, binding.holder = binding.holder, holder
        self._let_go(before.peer, binding)
        self._of.setdefault(holder.peer, {})[binding] = None
        before.end(Refused("taken over", "another run of this client has taken it over"))

    def _let_go(self, peer: Peer, binding: Binding) -> None:
        held = self._of[peer]
        del held[binding]
        if not held:
            del self._of[peer]

    def _check_place(self, place: Endpoint, asked: Endpoint, peer: Peer) -> None:
        try:
            peer.usage.policy.bind(place, asked)
        except Forbidden as error:
            raise Refused("forbidden", error.reason) from error

    def _check(self, binding: Binding, peer: Peer) -> None:
        peer.check_welcome()
        try:
            binding.check(peer)
        except Forbidden as error:
            raise Refused("forbidden", error.reason) from error

    async def _numeric(self, peer: Peer, place: Endpoint) -> Endpoint:
        """The place with a numeric address."""
        if isinstance(place, UnixPath) or place.host == ALL_INTERFACES:
            return place
        policy = peer.usage.policy
        try:
            if known_addresses(place.host) is None:
                policy.bind_name(place)
            with trio.fail_after(CONNECT_TIMEOUT):
                return Address((await resolve(place.host, policy.lookups))[0], place.port)
        except Forbidden as error:
            raise Refused("forbidden", error.reason) from error
        except (OSError, trio.TooSlowError) as error:
            raise Refused("unresolved", f"cannot bind {place}: {describe(error)}") from error

    def release(self, binding: Binding, holder: Holder) -> None:
        """The holder wants it no longer."""
        holder.end()
        if binding.holder is holder and self._at.get((binding.place, binding.datagrams)) is binding:
            del self._at[binding.place, binding.datagrams]
            self._let_go(holder.peer, binding)
            binding.close()
            self._console.news(
                f"no longer forwarding {binding.text} -> {holder.peer.name}",
                bound=binding.text,
                event="forward_released",
            )


async def _bind(place: Endpoint, asked: Endpoint, *, datagrams: bool) -> Bound:
    if datagrams and isinstance(place, UnixPath):
        raise Refused("failed", "UDP has no Unix sockets")
    try:
        return await (
            bind_datagrams(place) if datagrams and isinstance(place, Address) else bind_streams(place, forwarded=True)
        )
    except Failure as failure:
        # Where a name leads is not told.
        raise Refused("in use", str(failure).replace(str(place), str(asked))) from failure

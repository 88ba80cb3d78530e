"""Places that are bound here at the wish of connecting ends (-R)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._errors import Failure, describe, the_cause
from ..access import Forbidden
from ..entrances import Flows
from ..net import CONNECT_TIMEOUT, Bound, bind_datagrams, bind_streams, peer_of, resolve
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
                flows = Flows(
                    self.bound, self._open_flow, self.account, self._complain, lambda: self.holder.peer.buckets
                )
                await flows.serve(nursery)
            else:
                await self.bound.serve_with(self._carry)

    def close(self) -> None:
        """Take no more connections than those that have come already."""
        self._scope.cancel()
        self.bound.finish()

    def _carry(self, near: trio.SocketStream) -> None:
        """Over some session of the client, and no longer than that session lasts."""
        peer = self._choose()
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
            await carry(near, partial(_open, peer), opening, partial(self._carrying, peer), peer.buckets)
        except (Refused, Unanswered, trio.BrokenResourceError) as error:
            self.account.failed += 1
            self._complain(error)
        except Exception as error:  # whatever it is, it must not end the session
            self._console.error(f"connection to {self.text}: internal error: {the_cause(error)!r}", bound=self.text)
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

    async def _open_flow(self, client: tuple[str, int]) -> tuple[muxpy.Stream, bytes]:
        peer = self._choose()
        here = self.place
        local = (here.host, self.bound.port) if isinstance(here, Address) else None
        return await _open(peer), self._opening(client, local)

    def _complain(self, error: BaseException) -> None:
        self._console.complain(
            f"{self.text} for {self.holder.peer.name}: {error}", bound=self.text, event="connection_failed"
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
    """All places that are bound."""

    def __init__(self, pick: Callable[[Peer], Peer], console: Console) -> None:
        """`pick(peer)` says over which of a client's sessions the next connection goes."""
        self._pick = pick
        self._console = console
        self._nursery: trio.Nursery
        self._all: list[Binding] = []

    def __iter__(self) -> Iterator[Binding]:
        return iter(list(self._all))

    def run_in(self, nursery: trio.Nursery) -> None:
        """Serve what is bound from now on in `nursery`."""
        self._nursery = nursery

    async def take(self, peer: Peer, place: Endpoint, number: int, *, datagrams: bool) -> tuple[Binding, Holder]:
        """Bind a place for a peer, or let it take over what its client had bound. Raises Refused."""
        place = await self._numeric(place)
        binding = next((one for one in self._all if one.place == place and one.datagrams is datagrams), None)
        if binding is not None and binding.holder.peer.owner != peer.owner:
            binding = None
        try:
            if binding is not None:
                binding.check(peer)
            else:
                peer.usage.policy.bind(place)
        except Forbidden as error:
            raise Refused("forbidden", error.reason) from error
        holder = Holder(peer, number)
        if binding is not None:
            before, binding.holder = binding.holder, holder
            before.end(Refused("taken over", "another run of this client has taken it over"))
            return binding, holder
        binding = Binding(
            place, await _bind(place, datagrams=datagrams), holder, self._pick, self._console, datagrams=datagrams
        )
        if isinstance(place, Address):  # with the real port, by which it is asked for again
            binding.place = Address(place.host, binding.bound.port)
        self._all.append(binding)
        self._nursery.start_soon(binding.serve, self._nursery)
        self._console.news(
            f"forwarding {binding.text} -> {peer.name}", bound=binding.text, user=peer.usage.name, event="forward_bound"
        )
        return binding, holder

    async def _numeric(self, place: Endpoint) -> Endpoint:
        """The place with a numeric address."""
        if isinstance(place, UnixPath) or place.host == ALL_INTERFACES:
            return place
        if place.host.lower() == "localhost":
            return Address("127.0.0.1", place.port)
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                return Address((await resolve(place.host))[0], place.port)
        except (OSError, trio.TooSlowError) as error:
            raise Refused("unresolved", f"cannot bind {place}: {describe(error)}") from error

    def release(self, binding: Binding, holder: Holder) -> None:
        """The holder wants it no longer."""
        holder.end()
        if binding.holder is holder and binding in self._all:
            self._all.remove(binding)
            binding.close()
            self._console.news(
                f"no longer forwarding {binding.text} -> {holder.peer.name}",
                bound=binding.text,
                event="forward_released",
            )


async def _bind(place: Endpoint, *, datagrams: bool) -> Bound:
    if datagrams and isinstance(place, UnixPath):
        raise Refused("failed", "UDP has no Unix sockets")
    try:
        return await (bind_datagrams(place) if datagrams and isinstance(place, Address) else bind_streams(place))
    except Failure as failure:
        raise Refused("in use", str(failure)) from failure

"""The places that are bound here at the wish of connecting ends (-R).

A client takes over what it had bound. After a cut, this end may take 13 s to find out, and the client's new session
would find its own port in use. It is the same client if user and client id are the same. The place stays bound
meanwhile, so no connection is refused. A second run of a client cannot be told from a restart: it takes over, and the
first run gives that forward up, since two runs that took it from each other in turn would serve nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._errors import Failure, describe
from ..access import Forbidden, known_addresses
from ..net import CONNECT_TIMEOUT, bind_datagrams, bind_streams, resolve
from ..specs import ALL_INTERFACES, Address, UnixPath
from ..wire import Refused
from ._binding import Binding, Holder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..net import Bound
    from ..specs import Endpoint
    from ..view import Console
    from ._peer import Peer

__all__ = ["Bindings"]


class Bindings:
    """All places that are bound, by place and by holder: a reload and a login ask for a few of many."""

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

    async def bind(self, peer: Peer, place: Endpoint, number: int, *, datagrams: bool) -> tuple[Binding, Holder]:
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

    def unbind(self, binding: Binding, holder: Holder) -> None:
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

"""UDP: one stream for each address that sends, a limited number of such flows, and reports of what was lost."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .._errors import unexpected
from ..net import UdpSocket
from ..relay import MAX_DATAGRAM, Exchange, Unanswered, receive_answer, relay_datagrams
from ..wire import ANSWER_TIMEOUT, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    import muxpy

    from ..net import Bound, Sender
    from ..relay import Account

__all__ = ["FLOWS", "Flows", "Losses", "Places", "Route"]


# ---- places: how many streams flows may have ----

FLOWS: Final = 256
"""Streams of a session that flows may have: a quarter of the 1,024 that a peer allows. Anyone who reaches the port can
fake senders, and each costs a stream: a thousand datagrams could take all streams of the session, and the client's
connections over TCP with them. The other three quarters are for connections."""

RESERVE: Final = 4
"""A quarter of the places is for flows that are ending: a stream is free only once the other end, which may still be
looking up a name, has ended it too. So the streams are bounded however fast senders are faked: a flood replaces flows
at most as fast as the other end lets them go."""


class Places:
    """A limited number of flows. If all places are taken, the least valuable flow makes room."""

    def __init__(self, most: Callable[[], int] = lambda: FLOWS) -> None:
        """`most()` flows at a time, including those that are ending."""
        self._most = most
        self._going: set[Exchange] = set()
        self._ending: set[Exchange] = set()

    @property
    def full(self) -> str:
        """Why there was no place, for people."""
        return f"all {self._count} places for UDP flows are taken"

    @property
    def _count(self) -> int:
        return max(2, self._most())  # one that is running, and one that is ending

    def occupy(self) -> Exchange | None:
        """A place for a new flow. None if all are taken, and the reserve for ending flows as well."""
        reserve = max(1, self._count // RESERVE)
        if len(self._going) >= self._count - reserve:
            if len(self._ending) >= reserve:
                return None
            self.end(min(self._going, key=_worth))
        exchange = Exchange()
        self._going.add(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Tell a flow to end. It keeps its place until it leaves."""
        if exchange in self._going:
            self._going.remove(exchange)
            self._ending.add(exchange)
            exchange.scope.cancel()

    def leave(self, exchange: Exchange) -> None:
        """A flow has ended, also at the other end."""
        self._going.discard(exchange)
        self._ending.discard(exchange)


def _worth(exchange: Exchange) -> tuple[bool, float]:
    """A guess about what is still to come, as conntrack makes it: a conversation is worth more than a lone question;
    among equals, the one heard from last."""
    return exchange.conversation, exchange.last


# ---- flows ----

MAX_WAITING: Final = 64
"""Datagrams of one flow that may wait for the session; further ones are lost, as is usual with UDP."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a new flow reaches the other end."""

    places: Places
    open_stream: Callable[[], Awaitable[muxpy.Stream]]
    opening: bytes
    """The first bytes on the stream."""
    carrying: Callable[[muxpy.Stream], AbstractContextManager[object]]
    """Counts it; may raise Refused."""
    pacer: muxpy.Pacer | None = None


@dataclass(frozen=True, slots=True)
class _Flow:
    exchange: Exchange
    datagrams: trio.MemorySendChannel[bytes]


class Flows:
    """The flows through bound UDP sockets."""

    def __init__(
        self,
        bound: Bound,
        route: Callable[[tuple[str, int]], Route],
        account: Account,
        complain: Callable[[BaseException, int], None],
    ) -> None:
        """`route(client)` is the route of a flow of `client`, and raises Refused if it may have none; `complain(error,
        times)` is called about flows that reached no target, and datagrams without a place."""
        self._sockets = [UdpSocket(one) for one in bound.sockets]
        self._route = route
        self._account = account
        self._losses = Losses(complain)
        self._flows: dict[tuple[UdpSocket, Sender], _Flow] = {}

    async def serve(self, nursery: trio.Nursery) -> None:
        """Receive datagrams until cancelled; the sockets are closed then, and the flows end. They run in `nursery`."""
        try:
            async with trio.open_nursery() as receiving:
                receiving.start_soon(self._losses.run)
                for one in self._sockets:
                    receiving.start_soon(self._receive, one, nursery)
        finally:
            for one in self._sockets:
                one.close()
            for flow in self._flows.values():
                flow.exchange.scope.cancel()

    async def _receive(self, one: UdpSocket, nursery: trio.Nursery) -> None:
        while True:
            try:
                datagram, sender = await one.receive(MAX_DATAGRAM)
            except OSError:  # about an answer that could not be delivered
                continue
            flow = self._flows.get((one, sender)) or self._begin(one, sender, nursery)
            if flow is not None:
                with suppress(trio.WouldBlock):
                    flow.datagrams.send_nowait(datagram)

    def _begin(self, one: UdpSocket, sender: Sender, nursery: trio.Nursery) -> _Flow | None:
        self._account.total += 1
        try:
            route = self._route((sender.address[0], sender.address[1]))
        except Refused as refused:
            self._lose(refused)
            return None
        exchange = route.places.occupy()
        if exchange is None:
            self._lose(Unanswered(route.places.full))
            return None
        datagrams, incoming = trio.open_memory_channel[bytes](MAX_WAITING)
        flow = self._flows[one, sender] = _Flow(exchange, datagrams)
        nursery.start_soon(self._run, flow, (one, sender), route, incoming)
        return flow

    def _lose(self, error: BaseException) -> None:
        self._account.failed += 1
        self._losses.add(error)

    async def _run(
        self, flow: _Flow, key: tuple[UdpSocket, Sender], route: Route, incoming: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        one, sender = key

        async def receive(_: int) -> bytes:
            return await incoming.receive()

        async def send(datagram: bytes) -> None:
            await one.send(datagram, sender)

        try:
            async with await route.open_stream() as far:
                try:
                    with route.carrying(far):
                        await far.send_all(route.opening)
                        head = partial(receive_answer, far)
                        await relay_datagrams(far, receive, send, head=head, pacer=route.pacer, exchange=flow.exchange)
                        self._forget(key, flow)
                        await _end(far)
                except (
                    Refused
                ):  # by a limit here, before anything was sent, or by the other end, which has ended the stream
                    far.reset()
                    raise
        except (Refused, Unanswered, trio.BrokenResourceError) as error:
            self._lose(error)
        except Exception as error:  # no error may end the other flows
            self._lose(RuntimeError(unexpected(error)))
        finally:
            self._forget(key, flow)
            route.places.leave(flow.exchange)

    def _forget(self, key: tuple[UdpSocket, Sender], flow: _Flow) -> None:
        """The next datagram of this sender starts another flow."""
        if self._flows.get(key) is flow:
            del self._flows[key]


async def _end(far: muxpy.Stream) -> None:
    """End a flow's stream at both ends. The other end, which may still be reaching its target, counts it until then."""
    with trio.move_on_after(ANSWER_TIMEOUT), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await far.send_eof()
        while await far.receive_some():
            pass


# ---- reports of what was lost, in few lines however much it was ----

TELL_EVERY: Final = 60.0
"""Seconds between lines about the same reason: a UDP sender is told nothing and goes on."""

MAX_REASONS: Final = 16
"""Reasons that are reported in an interval. A reason may contain text that a peer made up."""


class Losses:
    """Counts errors by their text. The first is reported immediately, further ones once in TELL_EVERY, with their
    number."""

    def __init__(self, tell: Callable[[BaseException, int], None]) -> None:
        """Calls `tell(error, times)` for each reason."""
        self._tell = tell
        self._waiting: dict[str, tuple[BaseException, int]] = {}
        self._some = trio.Event()

    def add(self, error: BaseException) -> None:
        """Count one more loss."""
        reason = str(error)
        if reason not in self._waiting and len(self._waiting) >= MAX_REASONS:
            reason = next(iter(self._waiting))
        first, times = self._waiting.get(reason, (error, 0))
        self._waiting[reason] = first, times + 1
        self._some.set()

    async def run(self) -> None:
        """Report until cancelled."""
        try:
            while True:
                await self._some.wait()
                self._tell_all()
                await trio.sleep(TELL_EVERY)
        finally:
            self._tell_all()

    def _tell_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._some = trio.Event()
        for error, times in waiting.values():
            self._tell(error, times)

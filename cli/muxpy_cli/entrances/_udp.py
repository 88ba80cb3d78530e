"""UDP: one stream for each address that sends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .._errors import unexpected
from ..net import UdpSocket
from ..relay import MAX_DATAGRAM, Unanswered, receive_answer, relay_datagrams
from ..wire import ANSWER_TIMEOUT, Refused
from ._losses import Losses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    import muxpy

    from ..net import Bound, Sender
    from ..relay import Account, Exchange
    from ._places import Places

__all__ = ["Flows", "Route"]

MAX_WAITING: Final = 64
"""Datagrams of one flow that wait for the session; further ones are lost, as UDP has it."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a new flow goes to the other end."""

    places: Places
    open_stream: Callable[[], Awaitable[muxpy.Stream]]
    opening: bytes
    """What is sent on the stream first."""
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
        """`route(client)` says how a flow of `client` goes, and raises Refused if it may not; `complain(error, times)`
        is told of flows that reached no target, and of datagrams for which there was no place."""
        self._sockets = [UdpSocket(one) for one in bound.sockets]
        self._route = route
        self._account = account
        self._losses = Losses(complain)
        self._flows: dict[tuple[UdpSocket, Sender], _Flow] = {}

    async def serve(self, nursery: trio.Nursery) -> None:
        """Take datagrams until cancelled; the sockets are closed then, and the flows end. They run in `nursery`."""
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
            except OSError:  # an answer of ours could not be delivered
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
        exchange = route.places.take()
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
                except Refused:  # by a limit here, before anything was sent, or by the other end, which has ended it
                    far.reset()
                    raise
        except (Refused, Unanswered, trio.BrokenResourceError) as error:
            self._lose(error)
        except Exception as error:  # whatever it is, it must not end the other flows
            self._lose(RuntimeError(unexpected(error)))
        finally:
            self._forget(key, flow)
            route.places.leave(flow.exchange)

    def _forget(self, key: tuple[UdpSocket, Sender], flow: _Flow) -> None:
        """The next datagram of this sender begins another flow."""
        if self._flows.get(key) is flow:
            del self._flows[key]


async def _end(far: muxpy.Stream) -> None:
    """End a flow's stream at both ends. Until the other one has, which may be reaching its target, it has a place among
    the streams there."""
    with trio.move_on_after(ANSWER_TIMEOUT), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await far.send_eof()
        while await far.receive_some():
            pass

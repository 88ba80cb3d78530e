"""UDP: one stream for each address that sends."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from .._errors import the_cause
from ..relay import MAX_DATAGRAM, Unanswered, receive_answer, relay_datagrams
from ..wire import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import muxpy

    from ..access import TokenBucket
    from ..net import Bound
    from ..relay import Account

__all__ = ["Flows"]

MAX_FLOWS: Final = 1024
"""Addresses at once. Anybody can make up senders, and each costs a stream."""
MAX_WAITING: Final = 64
"""Datagrams of one flow that wait for the session; further ones are lost, as UDP has it."""


class Flows:
    """The flows through bound UDP sockets."""

    def __init__(
        self,
        bound: Bound,
        open_stream: Callable[[tuple[str, int]], Awaitable[tuple[muxpy.Stream, bytes]]],
        account: Account,
        complain: Callable[[BaseException], None],
        buckets: Callable[[], Sequence[TokenBucket]] = tuple,
    ) -> None:
        """`open_stream(client)` opens a stream for the flow of `client`, and says what is sent on it first;
        `complain` is told of flows that reached no target; `buckets()` limit the rate of a flow."""
        self._sockets = [trio.socket.from_stdlib_socket(one) for one in bound.sockets]
        self._open_stream = open_stream
        self._account = account
        self._complain = complain
        self._buckets = buckets
        self._flows: dict[tuple[int, Any], trio.MemorySendChannel[bytes]] = {}

    async def serve(self, nursery: trio.Nursery) -> None:
        """Take datagrams until cancelled; the sockets are closed then. Flows run in `nursery`."""
        try:
            async with trio.open_nursery() as receiving:
                for one in self._sockets:
                    receiving.start_soon(self._receive, one, nursery)
        finally:
            for one in self._sockets:
                one.close()

    async def _receive(self, one: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                datagram, address = await one.recvfrom(MAX_DATAGRAM)
            except OSError:  # an answer of ours could not be delivered
                continue
            key = one.fileno(), address
            flow = self._flows.get(key)
            if flow is None:
                if len(self._flows) >= MAX_FLOWS:
                    continue
                flow, incoming = trio.open_memory_channel[bytes](MAX_WAITING)
                self._flows[key] = flow
                nursery.start_soon(self._run, one, key, incoming)
            with contextlib.suppress(trio.WouldBlock):
                flow.send_nowait(datagram)

    async def _run(
        self, one: trio.socket.SocketType, key: tuple[int, Any], incoming: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        address = key[1]
        self._account.total += 1
        try:
            far, opening = await self._open_stream((address[0], address[1]))
            async with far:
                with self._account.carrying(far):
                    await far.send_all(opening)
                    await relay_datagrams(
                        far,
                        lambda _: incoming.receive(),
                        partial(_send_to, one, address),
                        head=partial(receive_answer, far),
                        buckets=self._buckets(),
                    )
        except (Refused, Unanswered, trio.BrokenResourceError) as error:
            self._account.failed += 1
            self._complain(error)
        except Exception as error:  # whatever it is, it must not end the other flows
            self._complain(RuntimeError(f"internal error: {the_cause(error)!r}"))
        finally:
            del self._flows[key]


async def _send_to(one: trio.socket.SocketType, address: tuple[object, ...], datagram: bytes) -> None:
    await one.sendto(datagram, address)

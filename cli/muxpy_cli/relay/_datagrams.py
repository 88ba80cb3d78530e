"""Datagrams on a stream, each after its length in two bytes, which keeps their boundaries."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from .._errors import the_cause

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import muxpy

_T = TypeVar("_T")

__all__ = ["CONVERSATION_IDLE", "EXCHANGE_IDLE", "MAX_DATAGRAM", "Exchange", "relay_datagrams"]

MAX_DATAGRAM: Final = 65_535
"""The most that UDP and two bytes of length allow."""

EXCHANGE_IDLE: Final = 30.0
"""Seconds without a datagram after which a flow is over that was only a question, with answers or without: UDP has no
end. Linux's connection tracking has the same limit, and resolvers retry sooner."""

CONVERSATION_IDLE: Final = 120.0
"""The same for a conversation, such as a tunnel or a call, which is worth keeping. Also the limit of Linux's connection
tracking, and the minimum of RFC 4787 for a NAT."""

CONVERSATION: Final = 3
"""Changes of direction in a conversation: question, answer, and something after the answer."""


class Exchange:
    """The directions in which a flow has had datagrams, which decide how long it is kept."""

    __slots__ = ("_outwards", "_speakers", "last", "scope")

    def __init__(self) -> None:
        self.last = trio.current_time()
        """When the last datagram passed."""
        self.scope = trio.CancelScope()
        """The relay's scope: cancelling it ends the flow in order."""
        self._outwards: bool | None = None
        self._speakers = 0

    def note(self, *, outwards: bool) -> None:
        """A datagram passed, from the stream to the socket (`outwards`) or the other way."""
        self.last = trio.current_time()
        if outwards is not self._outwards:
            self._outwards = outwards
            self._speakers += 1

    @property
    def conversation(self) -> bool:
        """Whether both sides have sent, and one of them again after the other."""
        return self._speakers >= CONVERSATION

    @property
    def idle_limit(self) -> float:
        """Seconds without a datagram after which it is over."""
        return CONVERSATION_IDLE if self.conversation else EXCHANGE_IDLE


async def relay_datagrams(
    far: muxpy.Stream,
    receive: Callable[[int], Awaitable[bytes]],
    send: Callable[[bytes], Awaitable[object]],
    early: bytes = b"",
    head: Callable[[], Awaitable[bytes]] | None = None,
    pacer: muxpy.Pacer | None = None,
    exchange: Exchange | None = None,
) -> None:
    """Pass datagrams both ways until the stream ends, or nothing has come for as long as `exchange` says, or its scope
    is cancelled.

    `receive(MAX_DATAGRAM)` and `send(datagram)` are a socket's; an OSError of theirs, such as the ICMP message of a
    target that does not listen, counts as a lost datagram. `early`, `head` and `pacer` are as for `relay`.
    """
    exchange = exchange or Exchange()

    async def may_pass(datagram: bytes, *, outwards: bool) -> None:
        exchange.note(outwards=outwards)
        if pacer is not None:
            exchange.scope.deadline = math.inf  # a flow that waits for its pacer is not idle
            await pacer.take(len(datagram))
        exchange.scope.deadline = trio.current_time() + exchange.idle_limit

    async def outwards() -> None:
        first = early if head is None else await head()
        async with aclosing(_datagrams(far, first)) as datagrams:
            async for datagram in datagrams:
                await may_pass(datagram, outwards=True)
                await _unless_lost(send(datagram))
        exchange.scope.cancel()

    with exchange.scope:
        exchange.scope.deadline = trio.current_time() + exchange.idle_limit
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outwards)
                while True:
                    datagram = await _unless_lost(receive(MAX_DATAGRAM))
                    if datagram is not None:
                        await may_pass(datagram, outwards=False)
                        await far.send_all(len(datagram).to_bytes(2, "big") + datagram)
        except BaseExceptionGroup as group:
            cause = the_cause(group)
            if not isinstance(cause, trio.BrokenResourceError | trio.ClosedResourceError):
                raise cause from None


async def _unless_lost(operation: Awaitable[_T]) -> _T | None:
    try:
        return await operation
    except OSError:
        await trio.lowlevel.checkpoint()
        return None


async def _datagrams(stream: muxpy.Stream, data: bytes) -> AsyncGenerator[bytes, None]:
    """The stream's bytes as datagrams. An incomplete one at the end is dropped."""
    while True:
        position = 0
        while len(data) - position >= 2:
            end = position + 2 + int.from_bytes(data[position : position + 2], "big")
            if end > len(data):
                break
            yield data[position + 2 : end]
            position = end
        chunk = await stream.receive_some()
        if not chunk:
            return
        data = data[position:] + chunk

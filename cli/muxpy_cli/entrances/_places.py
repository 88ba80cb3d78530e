"""The places that UDP flows have in a session, so that the streams of others have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..relay import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FLOWS", "Places"]

FLOWS: Final = 256
"""Streams of a session that flows may have: a quarter of the 1,024 that a peer lets be open. Anybody who reaches the
port can make up senders, and each costs a stream; the other three quarters are for connections."""

RESERVE: Final = 4
"""A quarter of the places is for flows that have been told to end: a stream is free only once the other end has ended
it as well, which may still be looking up a name. So however fast senders are made up, there are no more streams."""


class Places:
    """So many flows at a time. If all places are taken, the flow of which the least is to be expected makes room."""

    def __init__(self, most: Callable[[], int] = lambda: FLOWS) -> None:
        """`most()` flows at a time, those that are ending included."""
        self._most = most
        self._going: set[Exchange] = set()
        self._ending: set[Exchange] = set()

    @property
    def full(self) -> str:
        """Why there was no place, for people."""
        return f"all {self._count} places for UDP flows are taken"

    @property
    def _count(self) -> int:
        return max(2, self._most())  # one that goes on, and one that is ending

    def take(self) -> Exchange | None:
        """A place for a new flow. None if all are taken, and as many flows as can be are ending already."""
        reserve = max(1, self._count // RESERVE)
        if len(self._going) >= self._count - reserve:
            if len(self._ending) >= reserve:
                return None
            self.end(min(self._going, key=_worth))
        exchange = Exchange()
        self._going.add(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Tell a flow to end. It has its place until it leaves."""
        if exchange in self._going:
            self._going.remove(exchange)
            self._ending.add(exchange)
            exchange.scope.cancel()

    def leave(self, exchange: Exchange) -> None:
        """A flow has ended, at the other end as well."""
        self._going.discard(exchange)
        self._ending.discard(exchange)


def _worth(exchange: Exchange) -> tuple[bool, float]:
    """A conversation is worth more than a question that was answered, or never will be; then, what was heard last."""
    return exchange.conversation, exchange.last

"""The places of connections that have not said who they are."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ..access import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MAX_WAITING", "MAX_WAITING_EACH", "Waiting"]

MAX_WAITING: Final = 256
"""Connections that have not said who they are, together: some tens of KiB each."""
MAX_WAITING_EACH: Final = 64
"""The same from one address, so that one host cannot take the places of the others."""


class _Place:
    """Of one connection; compared by identity."""

    __slots__ = ("give_up",)

    def __init__(self, give_up: Callable[[], None]) -> None:
        self.give_up = give_up


class Waiting:
    """Bounded, and yet open for those who come: the oldest connection makes room, of the host that has most.

    Turning newcomers away instead would let whoever opens connections and says nothing keep everybody out, for as long
    as the time limit lasts, and then again. An honest client needs its place for a few round trips only.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, dict[_Place, None]] = {}  # the oldest first
        self._total = 0

    def __len__(self) -> int:
        return self._total

    @contextmanager
    def holding_place(self, host: str, give_up: Callable[[], None]) -> Iterator[None]:
        """Hold a place while the block runs; `give_up` is called if another one needs it."""
        host = network_of(host)
        if len(self._hosts.get(host, ())) >= MAX_WAITING_EACH:
            self._make_room(host)
        elif self._total >= MAX_WAITING:
            self._make_room(max(self._hosts, key=lambda one: len(self._hosts[one])))
        place = _Place(give_up)
        self._hosts.setdefault(host, {})[place] = None
        self._total += 1
        try:
            yield
        finally:
            self._leave(host, place)

    def _make_room(self, host: str) -> None:
        oldest = next(iter(self._hosts[host]))
        self._leave(host, oldest)
        oldest.give_up()

    def _leave(self, host: str, place: _Place) -> None:
        places = self._hosts.get(host, {})
        if place in places:  # else it has made room already
            del places[place]
            self._total -= 1
            if not places:
                del self._hosts[host]

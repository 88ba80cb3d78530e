"""Which connections wait at the door, and which have a place inside it: the rules, without sockets or sleeping.

A connection that has not said who it is first stands in line, which costs its socket and no more. Once it has sent
something it waits for a place: only there is anything read, decrypted or answered. Networks take turns, so that none
holds up another (fair queueing). No connection is turned away while there is room in line. When there is none, those
that have said nothing go first, at random: if it were always the oldest, a thousand clients that come back together
would drive each other out forever; if it were always the newest, connections that say nothing would keep all others
out.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LINE", "LINE_EACH", "PATIENCE", "PLACES", "PLACES_EACH", "Caller", "Waiting"]

PLACES: Final = 256
"""Connections whose greeting is under way, together: up to 96 KiB each, and what one login waits for at most."""
PLACES_EACH: Final = 64
"""The same from one network. A greeting takes a round trip with TLS and none without: with 0.2 s for it, 320 come in
each second, more than the processor can greet."""
LINE: Final = 2048
"""Connections in line, together: a socket each."""
LINE_EACH: Final = 1024
"""The same from one network: all clients of a big site that come back together, and a few seconds of greetings."""
PATIENCE: Final = 2.0
"""Seconds for which a place can be held while others wait for one: the slowest of links need as much for a handshake.
While nobody waits, the time limit of the connection counts."""
SAMPLE: Final = 4
"""The one that goes is chosen among so many. With more, those that have spoken would be spared more often, and those
dropped more often that have just come and could not speak yet."""


@dataclass(eq=False, slots=True)
class Caller:
    """A connection that has not said who it is."""

    network: str
    deadline: float
    """When it must have said it."""
    spoke: bool = False
    """It has sent something."""
    since: float = math.inf
    """When it got its place."""


C = TypeVar("C", bound=Caller)


@dataclass(eq=False, slots=True)
class _Network(Generic[C]):
    line: dict[C, None] = field(default_factory=dict)
    ready: dict[C, None] = field(default_factory=dict)
    """Those in line who have spoken, in the order in which they did."""
    inside: dict[C, None] = field(default_factory=dict)
    """Those with a place, the longest first."""


class Waiting(Generic[C]):
    """All connections that have not said who they are."""

    def __init__(self, clock: Callable[[], float], most: int = LINE) -> None:
        """`clock` gives seconds; `most` connections may be in line together."""
        self._clock = clock
        self._most = most
        self._line: dict[C, None] = {}  # in the order of their deadlines
        self._networks: dict[str, _Network[C]] = {}
        self._ready: dict[str, None] = {}  # networks with somebody who may have a place as soon as there is one
        self._full: dict[str, None] = {}  # networks with somebody who waits for a place of the network's own
        self._inside = 0

    def __len__(self) -> int:
        return len(self._line) + self._inside

    def __iter__(self) -> Iterator[C]:
        """Those in line."""
        return iter(list(self._line))

    def arrive(self, caller: C) -> C | None:
        """Put a newcomer in line. Returns who has to leave it if it is too long then, which may be the newcomer."""
        network = self._networks.setdefault(caller.network, _Network())
        self._line[caller] = network.line[caller] = None
        if len(network.line) > LINE_EACH:
            crowd = network.line
        elif len(self._line) > self._most:
            crowd = self._line
        else:
            return None
        dropped = max(random.choices(tuple(crowd), k=SAMPLE), key=self._how_dispensable)
        self.leave(dropped)
        return dropped

    def _how_dispensable(self, caller: C) -> tuple[int, bool]:
        return len(self._networks[caller.network].line), not caller.spoke

    def speak(self, caller: C) -> None:
        """Somebody in line has sent something, and is in turn for a place now."""
        caller.spoke = True
        self._networks[caller.network].ready[caller] = None
        self._line_up(caller.network)

    def admit(self) -> C | None:
        """Give the next one a place; None if nobody waits for one, or there is none."""
        name = next(iter(self._ready), None)
        if name is None or self._inside >= PLACES:
            return None
        network = self._networks[name]
        caller = next(iter(network.ready))
        del network.ready[caller], network.line[caller], self._line[caller], self._ready[name]
        network.inside[caller] = None
        self._inside += 1
        caller.since = self._clock()
        self._line_up(name)  # behind the others
        return caller

    def leave(self, caller: C) -> None:
        """It is in line no longer, or needs its place no longer; nothing if that was so before."""
        network = self._networks.get(caller.network)
        if network is None:
            return
        if caller in network.inside:
            del network.inside[caller]
            self._inside -= 1
        elif caller in network.line:
            del network.line[caller], self._line[caller]
            network.ready.pop(caller, None)
        self._line_up(caller.network)

    def _line_up(self, name: str) -> None:
        """Note what a network waits for: its turn, or a place among its own."""
        network = self._networks[name]
        room = len(network.inside) < PLACES_EACH
        for waits, those in ((room, self._ready), (not room, self._full)):
            if network.ready and waits:
                those.setdefault(name)
            else:
                those.pop(name, None)
        if not network.line and not network.inside:
            del self._networks[name]

    def late(self) -> C | None:
        """A connection in line whose time is over; it has left the line now. None if there is none."""
        first = next(iter(self._line), None)
        if first is None or first.deadline > self._clock():
            return None
        self.leave(first)
        return first

    def overstayed(self) -> C | None:
        """A connection that has kept for long enough a place that others wait for; it has left the place now."""
        for holder, until in self._wanted():
            if until <= self._clock():
                self.leave(holder)
                return holder
        return None

    def look_again(self) -> float:
        """The time at which `late` or `overstayed` may have somebody, if nothing else happens before."""
        times = [until for _, until in self._wanted()]
        times += [first.deadline for first in itertools.islice(self._line, 1)]
        return min(times, default=math.inf)

    def _wanted(self) -> Iterator[tuple[C, float]]:
        """Those whose places others wait for, and until when each may keep it."""
        for name in self._full:
            yield self._longest(name)
        if self._ready and self._inside >= PLACES:
            count, name = max((len(network.inside), name) for name, network in self._networks.items())
            caller, until = self._longest(name)
            # Places are shared fairly: a network that has none, or few, need not be patient with one that has most.
            fair = count > len(self._networks[next(iter(self._ready))].inside) + 1
            yield caller, caller.since if fair else until

    def _longest(self, name: str) -> tuple[C, float]:
        caller = next(iter(self._networks[name].inside))
        return caller, caller.since + PATIENCE

"""Taking connections: what each of them may cost is decided right after accept(2), before anything is made for it.

A session costs a millisecond or two and tens of KiB; a connection costs whoever opens it nothing. So a connection
waits as a socket until it has sent something. A client speaks first, with and without TLS: silence gets no further. To
leave connections in the kernel's backlog instead would put all networks in one line. `_waiting` has the rules.
"""

from __future__ import annotations

import itertools
import resource
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from ..access import network_of
from ..net import close_with_reset, reset_on_close
from ..specs import format_address
from ._waiting import LINE, Caller, Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..net import Bound
    from ._turned_away import Tally

__all__ = ["CROWDED", "GREETING_TIMEOUT", "TOO_LATE", "Arrival", "Entrance"]

GREETING_TIMEOUT: Final = 10.0
"""Seconds from accept(2) to the end of the greeting: in line, for the TLS handshake, and for a wrong token's answer."""
TOO_LATE: Final = f"it did not say within {GREETING_TIMEOUT:g} seconds who it is"
CROWDED: Final = "it had to make room: too many connections have not said who they are"
BATCH: Final = 64
"""Connections that are asked whether they have sent something, or closed, before other tasks get their turn."""
SHARE: Final = 4
"""The line takes at most one in so many of the descriptors that this process may have: the others are for clients."""
PACE: Final = 0.005
"""Seconds of work in one turn of the loop for each visit that begins in the next: greetings take a part of it only."""


@dataclass(eq=False, slots=True)
class Arrival(Caller):
    """A connection that has not said who it is, and its socket."""

    connection: socket.socket = field(kw_only=True)
    name: str = field(kw_only=True)
    """Where it comes from, for people."""
    limit: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Around its visit, until it has said who it is."""
    dropped: bool = False
    """It had to make room."""


class Entrance:
    """Where connections come in: each waits in line until it has sent something and a place is free for it."""

    def __init__(
        self,
        visit: Callable[[Arrival], Awaitable[object]],
        tally: Tally,
        work: Callable[[], float] = time.process_time,
    ) -> None:
        """`visit(arrival)` is started for each connection that gets a place. `work` gives seconds of processor time."""
        self._visit = visit
        self._tally = tally
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._waiting = Waiting[Arrival](trio.current_time, min(LINE, descriptors // SHARE))
        self._news = trio.Event()
        self._work = work
        self._worked = work()  # when it was looked at last
        # An epoll of our own inside Trio's: waiting with a task for each connection would make silence expensive.
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._silent: dict[int, Arrival] = {}  # by descriptor

    async def serve(self, bound: Bound, nursery: trio.Nursery) -> None:
        """Take connections, and start their visits in `nursery`, until cancelled. Those in line are dropped then."""
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._usher, nursery)
                if self._epoll is not None:
                    tasks.start_soon(self._listen, self._epoll)
                await bound.serve(self._arrive)
        finally:
            for arrival in self._waiting:
                self._close(arrival)
            if self._epoll is not None:
                self._epoll.close()

    def leave(self, arrival: Arrival) -> None:
        """A visit needs its place no longer: its client is known, or it has ended. May be called again."""
        self._waiting.leave(arrival)
        self._news.set()

    def _arrive(self, connection: socket.socket, address: Any) -> None:  # noqa: ANN401 - as accept(2) has it
        name = format_address(address) if isinstance(address, tuple) else "a local socket"
        host = address[0] if isinstance(address, tuple) else name
        arrival = Arrival(network_of(host), trio.current_time() + GREETING_TIMEOUT, connection=connection, name=name)
        dropped = self._waiting.arrive(arrival)
        if dropped is not arrival:
            self._watch(arrival)
        if dropped is not None:
            self._tally.add("dropped", dropped.name, CROWDED)
            self._close(dropped)
        self._news.set()  # there is a deadline now

    def _watch(self, arrival: Arrival) -> None:
        if self._epoll is None:  # then only a task could find out
            self._speaks(arrival)
        else:
            self._silent[arrival.connection.fileno()] = arrival
            self._epoll.register(arrival.connection, select.EPOLLIN)

    async def _listen(self, epoll: select.epoll) -> None:
        """Find out who has sent something."""
        while True:
            await trio.lowlevel.wait_readable(epoll.fileno())
            for fd, _ in epoll.poll(0, BATCH):
                arrival = self._silent.pop(fd)
                epoll.unregister(fd)
                if _has_left(arrival.connection):
                    self._waiting.leave(arrival)
                    self._tally.add("left", arrival.name, "it left without a word")
                    self._close(arrival)
                else:
                    self._speaks(arrival)

    def _speaks(self, arrival: Arrival) -> None:
        self._waiting.speak(arrival)
        self._news.set()

    async def _usher(self, nursery: trio.Nursery) -> None:
        """Give places, and take them back from those who are late or in the way."""
        while True:
            self._news = trio.Event()
            if self._send_away() | self._let_in(nursery):
                await trio.lowlevel.checkpoint()
            else:
                with trio.CancelScope(deadline=self._waiting.look_again()):
                    await self._news.wait()
                self._worked = self._work()  # what was done meanwhile was not one turn

    def _send_away(self) -> bool:
        """Those whose time is over; whether there were any."""
        late = list(itertools.islice(iter(self._waiting.late, None), BATCH))
        for arrival in late:
            self._tally.add("silent", arrival.name, TOO_LATE)
            self._close(arrival)
        holder = self._waiting.overstayed()
        if holder is not None:
            holder.dropped = True
            reset_on_close(holder.connection)
            holder.limit.cancel()
        return bool(late or holder)

    def _let_in(self, nursery: trio.Nursery) -> bool:
        """Start the next visits; whether there were any.

        One in each turn of the event loop, since it costs a millisecond or two before the others have their turn again.
        More if turns are long: otherwise, the more those do who are in already, the fewer would come in. A turn is long
        if it takes much work; on a busy machine all turns last long.
        """
        before, self._worked = self._worked, self._work()
        count = max(1, int((self._worked - before) / PACE))
        next_ones = list(itertools.islice(iter(self._waiting.admit, None), count))
        for arrival in next_ones:
            arrival.limit.deadline = arrival.deadline
            nursery.start_soon(self._visit, arrival)
        return bool(next_ones)

    def _close(self, arrival: Arrival) -> None:
        """End a connection that never had a place."""
        self._silent.pop(arrival.connection.fileno(), None)  # closing takes it out of the epoll
        close_with_reset(arrival.connection)  # nothing is left of it then, here or in the kernel


def _has_left(connection: socket.socket) -> bool:
    """Whether a connection that is readable is so because it has ended."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True

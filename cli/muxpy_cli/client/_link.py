"""The place of one session at the connecting end: its present one, and those that let their streams finish."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from ..access import negotiated
from ..relay import used_up
from ..view import SessionState

if TYPE_CHECKING:
    import muxpy

    from ..wire import Purpose

__all__ = ["Link"]


class Link:
    """The place of one session."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.session: muxpy.Session | None = None
        """Where new streams go."""
        self.leaving: dict[muxpy.Session, float | None] = {}
        """Those before it, which let their streams finish, and since when they are there."""
        self.used_up = False
        """Its session has no stream ids left."""
        self.state = "connecting"
        self.since: float | None = None
        self.attempts = 0
        self.error: str | None = None
        self.hurries: set[str] = set()
        """What was said of the attempts that connections wait for, since they began."""
        self.received = 0
        """By sessions that have ended."""
        self.sent = 0
        self.scope = trio.CancelScope()
        """Of connecting it: sessions that there are go on without it."""
        self.over = trio.Event()
        """It will have no session any more."""
        self._opening = 0
        """Streams that are about to be open: a burst of connections must not all go where there is nothing yet."""
        self._left = trio.lowlevel.ParkingLot()

    @property
    def live(self) -> bool:
        """Whether it has a session which takes streams, as far as is known."""
        return self.session is not None and not self.session.going_away

    @property
    def sessions(self) -> list[muxpy.Session]:
        """All, the oldest first."""
        return [*self.leaving, self.session] if self.session is not None else [*self.leaving]

    def up(self, session: muxpy.Session) -> None:
        """A session is there."""
        self.session, self.state, self.since = session, "connected", time.time()
        self.used_up = False
        self.attempts, self.error = 0, None
        self.hurries.clear()

    def leave(self) -> None:
        """Its session lets its streams finish; the next one takes its place meanwhile."""
        assert self.session is not None
        self.leaving[self.session] = self.since
        self.session, self.since = None, None

    def gone(self, session: muxpy.Session) -> None:
        """One of its sessions has ended."""
        figures = session.statistics()
        self.received += figures.bytes_received
        self.sent += figures.bytes_sent
        if session in self.leaving:
            del self.leaving[session]
        elif session is self.session:
            self.session, self.since = None, None
        self._left.unpark_all()

    def down(self, error: str) -> None:
        """There is no session for new streams, for this reason."""
        self.state, self.error = "waiting", error

    async def all_left(self) -> None:
        """Wait until none lets its streams finish."""
        while self.leaving:
            await self._left.park()

    def streams(self) -> int:
        """How many it has, or will have at once."""
        return self._opening + (self.session.statistics().streams_open if self.session is not None else 0)

    async def open_stream(self, purpose: Purpose) -> muxpy.Stream:
        """Open a stream on its session, which it must have. Raises SessionClosed, and is not live any more then."""
        session = self.session
        assert session is not None
        self._opening += 1
        try:
            stream = await session.open_stream(stream_type=purpose)
            self.used_up = self.used_up or used_up(stream)
            return stream
        finally:
            self._opening -= 1

    def describe(self, peer: str) -> list[SessionState]:
        """For the views."""
        states = [_describe(session, peer, "draining", since) for session, since in self.leaving.items()]
        if self.session is not None:
            return [*states, _describe(self.session, peer, self.state, self.since)]
        return [*states, SessionState(peer=peer, state=self.state, attempts=self.attempts, error=self.error)]


def _describe(session: muxpy.Session, peer: str, state: str, since: float | None) -> SessionState:
    figures = session.statistics()
    return SessionState(
        peer=peer,
        state=state,
        since=since,
        streams=max(0, figures.streams_open - 2 * figures.heartbeat),  # each end has one for its heartbeats
        opened=figures.streams_opened + figures.streams_accepted,
        received=figures.bytes_received,
        sent=figures.bytes_sent,
        rtt=figures.rtt,
        tls=negotiated(session.tls),
    )

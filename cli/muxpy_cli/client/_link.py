"""A slot for one session of the connecting end: the present session, and earlier ones that let streams finish."""

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
    """The slot of one session."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.session: muxpy.Session | None = None
        """The session for new streams."""
        self.leaving: dict[muxpy.Session, float | None] = {}
        """Earlier sessions, which let their streams finish, and when they were connected."""
        self.used_up = False
        """Its session has no stream ids left."""
        self.state = "connecting"
        self.since: float | None = None
        self.attempts = 0
        self.error: str | None = None
        self.hurries: set[str] = set()
        """Lines about attempts that connections wait for, as far as they were shown."""
        self.received = 0
        """Bytes received by sessions that have ended."""
        self.sent = 0
        self.scope = trio.CancelScope()
        """The scope of connecting: existing sessions continue without it."""
        self.over = trio.Event()
        """It will have no more sessions."""
        self._opening = 0
        """Streams that are being opened: a burst of connections must not all go to the session that was empty."""
        self._left = trio.lowlevel.ParkingLot()

    @property
    def live(self) -> bool:
        """Whether it has a session that accepts streams, as far as is known."""
        return self.session is not None and not self.session.going_away

    @property
    def sessions(self) -> list[muxpy.Session]:
        """All its sessions, the oldest first."""
        return [*self.leaving, self.session] if self.session is not None else [*self.leaving]

    def up(self, session: muxpy.Session) -> None:
        """It has a session now."""
        self.session, self.state, self.since = session, "connected", time.time()
        self.used_up = False
        self.attempts, self.error = 0, None
        self.hurries.clear()

    def leave(self) -> None:
        """Its session lets streams finish; the next session takes over meanwhile."""
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
        """It has no session for new streams, for this reason."""
        self.state, self.error = "waiting", error

    async def all_left(self) -> None:
        """Wait until all earlier sessions have ended."""
        while self.leaving:
            await self._left.park()

    def streams(self) -> int:
        """How many streams it has, or is opening."""
        return self._opening + (self.session.statistics().streams_open if self.session is not None else 0)

    def open_now(self, purpose: Purpose) -> muxpy.Stream:
        """Open a stream on its session, which it must have. Raises SessionClosed like `open_stream`, and
        trio.WouldBlock."""
        assert self.session is not None
        return self._opened(self.session.open_stream_nowait(stream_type=purpose))

    async def open_stream(self, purpose: Purpose) -> muxpy.Stream:
        """Open a stream on its session, which it must have. If it raises SessionClosed, it is not live any more."""
        session = self.session
        assert session is not None
        self._opening += 1
        try:
            return self._opened(await session.open_stream(stream_type=purpose))
        finally:
            self._opening -= 1

    def _opened(self, stream: muxpy.Stream) -> muxpy.Stream:
        self.used_up = self.used_up or used_up(stream)
        return stream

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

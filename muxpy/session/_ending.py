"""A session's life, as one table, and why it ended.

Theory of operation: a session ends once. What decides it (`SessionEvent`) moves it to LINGERING, and from then on every
operation fails with that end. Then the last words (GOAWAY and its reason) get time to be written and read, and the
transport is closed. A killed session has no last words.

                               CLOSE
          ┌────────────────────────────────────────────┐
          │      GOAWAY                   CLOSE        ▼
         OPEN ───────────► GOING_AWAY ───────────► DRAINING
          │                    │                       │
          └────────────────────┴───────────────────────┤ FINISHED, LOST, BROKEN, FAILED
                                                       ▼
                                                   LINGERING
                                                       │ CLOSED
    any of these ── KILL ──► ENDED ◄───────────────────┘

    GOAWAY    this side can open no more streams: the peer says so, or the stream ids are used up
    CLOSE     the application closes the session, and open streams may finish (graceful shutdown)
    FINISHED  the open streams have finished, or their time is over; or no stream was open for `idle_timeout`; or the
              ids are used up and the last stream has ended
    LOST      the transport has ended, in order or not: see `lost`
    BROKEN    the peer broke a rule of the protocol
    FAILED    this side cannot go on: it cannot write, or has a bug
    KILL      the application ends the session immediately, or the heartbeat does
    CLOSED    the transport is closed

An event that a stage does not list changes nothing: the first event that decides the end counts.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import trio

from muxpy._codes import ErrorCode, ProtocolError, code_name, printable
from muxpy._errors import SessionClosed, SessionEnd

from ._parking import Lot

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import RemoteGoAway

__all__ = ["Cause", "Ending", "SessionEvent", "Stage", "broken", "failed", "in_order", "killed", "lost"]


class SessionEvent(IntEnum):
    """What can happen to a session: see the table above."""

    GOAWAY = 0
    CLOSE = 1
    FINISHED = 2
    LOST = 3
    BROKEN = 4
    FAILED = 5
    KILL = 6
    CLOSED = 7


class Stage(Enum):
    """Where a session is in its life."""

    OPEN = "open"
    """Both sides may open streams."""
    GOING_AWAY = "going away"
    """This side can open no more streams; those that are open go on."""
    DRAINING = "draining"
    """The application closes the session: open streams may finish."""
    LINGERING = "lingering"
    """The session is over: the last words are written, and the peer has time to read them."""
    ENDED = "ended"
    """Nothing more is written or read."""


_decided = dict.fromkeys(
    (SessionEvent.FINISHED, SessionEvent.LOST, SessionEvent.BROKEN, SessionEvent.FAILED), Stage.LINGERING
)
_killed = {SessionEvent.KILL: Stage.ENDED}

TRANSITIONS: dict[Stage, dict[SessionEvent, Stage]] = {
    Stage.OPEN: {SessionEvent.GOAWAY: Stage.GOING_AWAY, SessionEvent.CLOSE: Stage.DRAINING, **_decided, **_killed},
    Stage.GOING_AWAY: {SessionEvent.CLOSE: Stage.DRAINING, **_decided, **_killed},
    Stage.DRAINING: {**_decided, **_killed},
    Stage.LINGERING: {SessionEvent.CLOSED: Stage.ENDED, **_killed},
    Stage.ENDED: {},
}


class Cause(NamedTuple):
    """The fields of a SessionEnd that say why the session ended: see there."""

    code: int = ErrorCode.NO_ERROR
    error: BaseException | None = None
    by_peer: bool = False


class Ending:
    """One session's stage in the table, and the tasks that wait for the next stages."""

    __slots__ = ("_parked", "closed", "drain_until", "end", "on_decided", "stage")

    def __init__(self) -> None:
        self.stage = Stage.OPEN
        self.end: SessionEnd | None = None
        self.closed = False  # whether the transport is closed
        self.drain_until = -inf  # until when the peer may take its time to read what was sent
        self.on_decided: Callable[[], None] | None = None
        """Brings the session to its end; None if it is not running."""
        self._parked = Lot()

    def happens(self, event: SessionEvent, cause: Cause | None = None, remote: RemoteGoAway | None = None) -> bool:
        """Go through the table. Returns whether this decides how the session ends; it then ends by `cause`.

        `remote`: the peer's GOAWAY, if it came.
        """
        stage = TRANSITIONS[self.stage].get(event)
        if stage is None:
            return False
        self.stage = stage
        self.news()
        if cause is None or self.end is not None:
            return False
        remote_code, remote_debug = (remote.code, remote.debug) if remote is not None else (None, b"")
        self.end = SessionEnd(cause.code, cause.error, remote_code, remote_debug, cause.by_peer)
        if self.on_decided is not None:
            self.on_decided()
        return True

    def news(self) -> None:
        """Have the tasks that wait look again: the stage is another one, or something else of what they wait for."""
        self._parked.unpark_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until that is so. There are few such tasks, and seldom news, so one place for all of them will do."""
        if reached():
            await trio.lowlevel.checkpoint()
        while not reached():
            await self._parked.park()

    @property
    def going_away(self) -> bool:
        """Whether this side can open no more streams."""
        return self.stage is not Stage.OPEN  # no event leads back there

    @property
    def draining(self) -> bool:
        """Whether the application is closing the session."""
        return self.stage is Stage.DRAINING

    def check_alive(self) -> None:
        """Raise SessionClosed if the session has ended."""
        if self.end is not None:
            raise SessionClosed(self.end)

    def check_order(self) -> None:
        """Raise SessionClosed if the session has ended with an error."""
        if self.end is not None and self.end.error is not None:
            raise SessionClosed(self.end)


# ---- the causes ----


def in_order(remote: RemoteGoAway | None, *, by_peer: bool = False) -> Cause:
    """The session has ended in order; the peer's GOAWAY, if it came, may say that it ended by an error."""
    if remote is None or remote.code == ErrorCode.NO_ERROR:
        return Cause(by_peer=by_peer)
    debug = printable(remote.debug.decode(errors="backslashreplace"))
    reason = f"the peer ended the session with {code_name(remote.code)}" + (f": {debug}" if debug else "")
    return Cause(remote.code, trio.BrokenResourceError(reason), by_peer=True)


def broken(error: ProtocolError) -> Cause:
    """The peer broke a rule."""
    return Cause(error.code, error)


def failed(error: BaseException | None) -> Cause:
    """This side cannot go on."""
    return Cause(ErrorCode.INTERNAL_ERROR, error)


def killed(error: BaseException | None) -> Cause:
    """The application killed the session. It always has an error: without one, iteration over the session would end as
    after a clean end, and the program would take what was cut off for the whole."""
    return Cause(ErrorCode.CANCEL, error or trio.ClosedResourceError("this side killed it"))


def lost(
    rule: ProtocolError | None,
    remote: RemoteGoAway | None,
    error: BaseException | None,
    *,
    whole: bool,
    draining: bool,
    wordless: bool,
) -> Cause:
    """The transport has ended. The first of these that applies says why:

    - `rule`: this broke a rule of the protocol, for example by an end in the middle of a frame.
    - `whole`: the transport ended between frames and after the peer's GOAWAY, so the session ended in order, by the
      peer unless this side is `draining`. The same holds if that GOAWAY has an error.
    - `error`: the error of the transport.
    - Otherwise the peer closed the connection without GOAWAY. `wordless`: it has sent nothing at all.
    """
    if rule is not None:
        return broken(rule)
    if whole or (remote is not None and remote.code != ErrorCode.NO_ERROR):
        return in_order(remote, by_peer=not draining)
    if error is not None:
        return failed(error)
    hint = "; does it expect TLS?" if wordless else ""
    reason = f"the peer closed the connection without saying GOAWAY{hint}"
    return Cause(ErrorCode.INTERNAL_ERROR, trio.BrokenResourceError(reason), by_peer=True)

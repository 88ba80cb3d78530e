"""The live display: the state of the process at the bottom of the terminal, the lines above it; and the rates that it
shows, from snapshots that follow each other.

The lines go on as they do without a display, and stay in the terminal's history; only the frame below them is drawn
anew. Both are written by the console's thread, and a frame that the terminal does not take is replaced by the next.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import trio

from ._snapshot import ForwardState, SessionState, Totals
from ._tables import draw

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from rich.text import Text

    from ._console import Console
    from ._snapshot import Snapshot, TakeSnapshot

__all__ = ["Rate", "Rates", "run_display"]


INTERVAL: Final = 0.5
"""Seconds from frame to frame: quick enough to follow, and seldom enough to cost next to nothing."""

ROWS: Final = 250
"""Sessions, and forwards, that are asked for: more than a terminal has rows for."""


async def run_display(console: Console, snapshot: TakeSnapshot) -> None:
    """Draw until cancelled; then the frame goes away, and the lines stay. Returns at once if the console is not live
    (no terminal, or another format than "auto")."""
    if not console.live:
        return
    rates = Rates()
    with console.in_background():
        try:
            while True:
                if not console.frame_waits:
                    rates.add(now := await snapshot(ROWS))
                    console.show_frame(partial(draw, now, rates=rates))
                await trio.sleep(INTERVAL)
        finally:
            console.show_frame(_nothing)
            # Whoever writes to the terminal after this, standard error above all, must find the frame gone: it would
            # be taken away later together with what they wrote.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(console.flush)


def _nothing(width: int, height: int) -> list[Text]:
    return []


# ---- rates ----

RATE_WINDOW: Final = 2.0
"""Seconds over which a rate is taken: shorter ones jump, longer ones lag behind."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes a second. None: not known yet."""

    received: float | None = None
    sent: float | None = None


_Counters: TypeAlias = SessionState | ForwardState | Totals
_State = TypeVar("_State", SessionState, ForwardState)


class Rates:
    """Keeps the snapshots of the last RATE_WINDOW seconds."""

    def __init__(self) -> None:
        self._snapshots: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> None:
        """Take the present snapshot. One that is older than the last (the clock was set back) starts anew."""
        if self._snapshots and snapshot.at <= self._snapshots[-1].at:
            self._snapshots.clear()
        self._snapshots.append(snapshot)
        while len(self._snapshots) > 2 and self._snapshots[1].at <= snapshot.at - RATE_WINDOW:
            self._snapshots.popleft()

    def totals(self) -> Rate:
        """Of all sessions together."""
        return self._rate(self._snapshots[0].totals, self._snapshots[-1].totals)

    def sessions(self, count: int) -> list[Rate]:
        """Of the first so many, in the order of the last snapshot."""
        first, last = self._snapshots[0].sessions, self._snapshots[-1].sessions
        return self._matched(_numbered(first, _session_key), _numbered(last[:count], _session_key))

    def forwards(self, count: int) -> list[Rate]:
        """Of the first so many, in the order of the last snapshot."""
        first, last = self._snapshots[0].forwards, self._snapshots[-1].forwards
        return self._matched(_numbered(first, _forward_key), _numbered(last[:count], _forward_key))

    def _matched(
        self, first: Iterable[tuple[Hashable, _Counters]], last: Iterable[tuple[Hashable, _Counters]]
    ) -> list[Rate]:
        before = dict(first)
        return [self._rate(before.get(key), now) for key, now in last]

    def _rate(self, before: _Counters | None, now: _Counters) -> Rate:
        seconds = self._snapshots[-1].at - self._snapshots[0].at
        if before is None or seconds <= 0 or now.received < before.received or now.sent < before.sent:
            return Rate()  # new, or one that took the place and the name of another
        return Rate((now.received - before.received) / seconds, (now.sent - before.sent) / seconds)


def _session_key(session: SessionState) -> Hashable:
    return session.peer, session.since


def _forward_key(forward: ForwardState) -> Hashable:
    return forward.direction, forward.kind, forward.bind, forward.name, forward.user


def _numbered(states: Iterable[_State], key: Callable[[_State], Hashable]) -> Iterator[tuple[Hashable, _State]]:
    """Each with a key of its own: of those that are alike in all that names them, the first, the second ..."""
    seen: Counter[Hashable] = Counter()
    for state in states:
        name = key(state)
        seen[name] += 1
        yield (name, seen[name]), state

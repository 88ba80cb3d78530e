"""Attempts to connect: when the next one is made (exponential backoff with jitter), and what one is waiting for."""

from __future__ import annotations

import math
import random
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from .._errors import the_cause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["SOON", "Attempt", "Backoff", "Demand", "Tell", "not_allowed_delay", "soon", "telling_progress"]


FIRST_DELAY: Final = 1.0
"""Seconds within which the first new attempt is made, at a random time: after a restart of the server all its clients
come back, and the jitter spreads them evenly. Each failure doubles the delay."""
MAX_DELAY: Final = 30.0
"""The longest delay in seconds: a server that comes back is found within this time."""
SOON: Final = 1.0
"""The longest delay in seconds while connections want a session: their users should not wait half a minute for a
network that has come back."""
WANTED: Final = MAX_DELAY
"""Seconds for which a session counts as wanted after a connection last waited for one: a user who found nothing comes
again, and should not meet a longer delay."""
NOT_ALLOWED_DELAY: Final = 60.0
"""Seconds before a new attempt if authentication succeeded once and now fails: somebody has to restore the token or the
certificate there first."""


class Backoff:
    """Exponential backoff with jitter: without it, all clients of a server that comes back would come back together."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY

    def reset(self) -> None:
        """Start afresh: the next failure is a first one."""
        self._delay = FIRST_DELAY

    @property
    def begun(self) -> bool:
        """Whether there was a failure since the last reset."""
        return self._delay != FIRST_DELAY

    def next_delay(self) -> float:
        """Seconds before the next attempt; doubles the delay after it."""
        seconds = self._delay * random.uniform(0.5 if self.begun else 0, 1)
        self._delay = min(2 * self._delay, MAX_DELAY)
        return seconds


def soon() -> float:
    """Seconds before an attempt that connections wait for. Such attempts do not lengthen the backoff: however many
    there are, they say nothing about how long the server stays away."""
    return SOON * random.uniform(0.5, 1)


def not_allowed_delay() -> float:
    """Seconds before the next attempt of a client whose authentication failed."""
    return NOT_ALLOWED_DELAY * random.uniform(1, 1.5)


class Demand:
    """Reasons for an attempt before its time: connections that want a session, and a reload."""

    def __init__(self) -> None:
        self._waiting = 0
        self._wanted_at = -math.inf
        """When a connection last started or stopped waiting."""
        self._reloaded_at = -math.inf
        self._news = trio.lowlevel.ParkingLot()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A connection waits for a session during the block."""
        self._waiting += 1
        self._wanted_at = trio.current_time()
        self._news.unpark_all()
        try:
            yield
        finally:
            self._waiting -= 1
            self._wanted_at = trio.current_time()

    def reloaded(self) -> None:
        """The configuration was read again."""
        self._reloaded_at = trio.current_time()
        self._news.unpark_all()

    @property
    def wanted(self) -> bool:
        """Whether connections want a session: one waits, or did a short time ago."""
        return bool(self._waiting) or trio.current_time() - self._wanted_at < WANTED

    async def sleep(self, seconds: float, *, hurry: bool) -> str | None:
        """Sleep for `seconds`, or less for a reason: a reload, or with `hurry` a connection; but never less than SOON.
        Returns that reason, if there was one."""
        begun = trio.current_time()
        with trio.move_on_after(seconds):
            await trio.sleep(SOON)
            while True:
                if self._reloaded_at >= begun:
                    return "the configuration was read again"
                if hurry and self._wanted_at >= begun:
                    return "a connection wants the session"
                await self._news.park()
        return None


# ---- what an attempt waits for ----

PATIENCE: Final = 1.0
"""Seconds after which it is shown, before people wonder. A connection around the world takes less."""

Tell: TypeAlias = "Callable[[str], object]"


class Attempt:
    """The present step of an attempt."""

    def __init__(self) -> None:
        self._step = ""
        self._scope = trio.CancelScope()

    def step(self, text: str) -> None:
        """Set what it waits for from now on, as a sentence."""
        self._step = text

    def done(self) -> None:
        """It is over, and waits for nothing."""
        self._scope.cancel()

    async def run(self, tell: Tell) -> None:
        """Tell each step that takes long, once."""
        told = ""
        with self._scope:
            while True:
                await trio.sleep(PATIENCE)
                if self._step != told:
                    told = self._step
                    tell(told)


@asynccontextmanager
async def telling_progress(tell: Tell | None) -> AsyncIterator[Attempt]:
    """Tell which steps of the block take long, until the progress is `done`. The block's exception passes unchanged."""
    attempt = Attempt()
    try:
        async with trio.open_nursery() as nursery:
            if tell is not None:
                nursery.start_soon(attempt.run, tell)
            yield attempt
            attempt.done()
    except BaseExceptionGroup as group:
        error = the_cause(group)
        raise error from error.__cause__

"""Attempts to connect: when the next one is made, and what one waits for, told to whoever waits for it."""

from __future__ import annotations

import math
import random
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from .._errors import the_cause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["SOON", "Backoff", "Demand", "Progress", "Tell", "not_allowed_delay", "soon", "telling_progress"]


FIRST_DELAY: Final = 1.0
"""Seconds within which the first new attempt is made, at a random time: after a restart of the server all its clients
come back, and this spreads them evenly. Each failure doubles it."""
MAX_DELAY: Final = 30.0
"""Seconds between attempts at most: a server that comes back is found within this."""
SOON: Final = 1.0
"""Seconds between attempts at most while connections want a session: whoever is there should not wait half a minute for
a network that has come back."""
WANTED: Final = MAX_DELAY
"""Seconds for which a session counts as wanted after a connection has last waited for one: whoever found nothing comes
again, and should not meet a delay that the others before did not have either."""
NOT_ALLOWED_DELAY: Final = 60.0
"""Seconds before a new attempt if we were let in once and are not any more: a token or certificate may come back, but
only if somebody mends it there."""


class Backoff:
    """Exponential backoff with jitter, or all clients of a server that comes back would come back together."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY

    def reset(self) -> None:
        """The next failure is a first one."""
        self._delay = FIRST_DELAY

    @property
    def begun(self) -> bool:
        """Whether there was a failure since the last reset."""
        return self._delay != FIRST_DELAY

    def next_delay(self) -> float:
        """Seconds before the next attempt, which lengthen what comes after it."""
        seconds = self._delay * random.uniform(0.5 if self.begun else 0, 1)
        self._delay = min(2 * self._delay, MAX_DELAY)
        return seconds


def soon() -> float:
    """Seconds before an attempt that connections wait for. However many there are, they say nothing about how long the
    server stays away: a backoff knows nothing of them."""
    return SOON * random.uniform(0.5, 1)


def not_allowed_delay() -> float:
    """Seconds before the next attempt of a client that is not let in any more."""
    return NOT_ALLOWED_DELAY * random.uniform(1, 1.5)


class Demand:
    """What makes attempts worth while before their time: connections that want a session, and a reload."""

    def __init__(self) -> None:
        self._waiting = 0
        self._wanted_at = -math.inf
        """When a connection began to wait, or ceased to."""
        self._reloaded_at = -math.inf
        self._news = trio.lowlevel.ParkingLot()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A connection waits for a session."""
        self._waiting += 1
        self._wanted_at = trio.current_time()
        self._news.unpark_all()
        try:
            yield
        finally:
            self._waiting -= 1
            self._wanted_at = trio.current_time()

    def reloaded(self) -> None:
        """What attempts are made with was read again."""
        self._reloaded_at = trio.current_time()
        self._news.unpark_all()

    @property
    def wanted(self) -> bool:
        """Whether connections want a session: one waits, or did a short while ago."""
        return bool(self._waiting) or trio.current_time() - self._wanted_at < WANTED

    async def sleep(self, seconds: float, *, hurry: bool) -> str | None:
        """Sleep for so long, or less if there is a reason to: a reload, or with `hurry` a connection; but never less
        than SOON. Returns that reason, if there was one."""
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
"""Seconds after which it is told: before people wonder. A connection around the world takes less."""

Tell: TypeAlias = "Callable[[str], object]"


class Progress:
    """How far an attempt has come."""

    def __init__(self) -> None:
        self._step = ""
        self._scope = trio.CancelScope()

    def step(self, text: str) -> None:
        """What it waits for from now on, as a sentence."""
        self._step = text

    def done(self) -> None:
        """It waits for nothing any more."""
        self._scope.cancel()

    async def run(self, tell: Tell) -> None:
        """Tell each step during which time goes by, once."""
        told = ""
        with self._scope:
            while True:
                await trio.sleep(PATIENCE)
                if self._step != told:
                    told = self._step
                    tell(told)


@asynccontextmanager
async def telling_progress(tell: Tell | None) -> AsyncIterator[Progress]:
    """Tell what takes long in this block, until the progress is `done`. The block's exception is kept as it is."""
    progress = Progress()
    try:
        async with trio.open_nursery() as nursery:
            if tell is not None:
                nursery.start_soon(progress.run, tell)
            yield progress
            progress.done()
    except BaseExceptionGroup as group:
        error = the_cause(group)
        raise error from error.__cause__

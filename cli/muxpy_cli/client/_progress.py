"""What an attempt to connect waits for, told to whoever waits for it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from .._errors import the_cause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Progress", "Tell", "telling_progress"]

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

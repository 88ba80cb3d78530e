"""Time that this process itself was suspended, which says nothing about a peer that was silent meanwhile."""

from typing import Final

import trio

__all__ = ["overslept", "sleep_fairly"]

STEP: Final = 3.0
"""Seconds slept at a time. A suspension that lies within one step does not show; a step is a fraction of any limit."""

OVERSLEPT: Final = 1.0
"""Seconds later than asked that mean this process was suspended, and not just busy."""

TICK: Final = 0.001
"""The least that is slept: what rounding leaves of a time must not make its owner go round without sleeping."""

READER_TURNS: Final = 3
"""Passes of the scheduler in which the reader gets at what is there: one to notice, one to read, one to spare."""


def overslept(due: float) -> bool:
    """Whether this process gets its turn so long after `due` that it must have been suspended."""
    return trio.current_time() - due >= OVERSLEPT


async def sleep_fairly(seconds: float) -> bool:
    """Sleep, then let the reader get at what came meanwhile. False if this process was suspended on the way: the peer
    should have the whole time again."""
    fair = True
    until = trio.current_time() + max(seconds, TICK)
    while (left := until - trio.current_time()) > 0:
        wake = trio.current_time() + min(left, STEP)
        await trio.sleep_until(wake)
        fair = fair and not overslept(wake)
    for _ in range(READER_TURNS):
        await trio.lowlevel.checkpoint()
    return fair

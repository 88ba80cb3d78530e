"""Noticing that this process itself was suspended: a peer that was silent meanwhile may be alive."""

from typing import Final

import trio

__all__ = ["overslept", "sleep_fairly"]

STEP: Final = 3.0
"""Seconds slept at a time. A suspension that lies within one step is not noticed; a step is a fraction of any limit."""

OVERSLEPT: Final = 1.0
"""Waking so many seconds late means that this process was suspended, and not just busy."""

TICK: Final = 0.001
"""The least seconds to sleep: a rest that rounding leaves must not make the caller's loop spin without sleeping."""

READER_TURNS: Final = 3
"""Passes of the scheduler in which the reader receives what has arrived: one to notice, one to read, one to spare."""


def overslept(due: float) -> bool:
    """Whether it is so long after `due` that this process must have been suspended."""
    return trio.current_time() - due >= OVERSLEPT


async def sleep_fairly(seconds: float) -> bool:
    """Sleep, then let the reader receive what came meanwhile. Returns False if this process was suspended meanwhile:
    the peer should then have the whole time again."""
    fair = True
    until = trio.current_time() + max(seconds, TICK)
    while (left := until - trio.current_time()) > 0:
        wake = trio.current_time() + min(left, STEP)
        await trio.sleep_until(wake)
        fair = fair and not overslept(wake)
    for _ in range(READER_TURNS):
        await trio.lowlevel.checkpoint()
    return fair

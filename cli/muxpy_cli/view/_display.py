"""The live display: the state of the process at the bottom of the terminal, the lines above it.

The lines go on as they do without a display, and stay in the terminal's history; only the frame below them is drawn
anew. Both are written by the console's thread, and a frame that the terminal does not take is replaced by the next.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ._snapshot import Rates
from ._tables import draw

if TYPE_CHECKING:
    from rich.text import Text

    from ._console import Console
    from ._snapshot import TakeSnapshot

__all__ = ["run_display"]


INTERVAL: Final = 0.5
"""Seconds from frame to frame: often enough to follow, and seldom enough to cost next to nothing."""

ROWS: Final = 250
"""Sessions, and forwards, that are asked for: more than a terminal has rows."""


async def run_display(console: Console, snapshot: TakeSnapshot) -> None:
    """Draw until cancelled; then the frame goes away, and the lines stay. Returns immediately if the console is not
    live (no terminal, or another format than "auto")."""
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
            # The frame must be gone before anything else is written to the terminal, above all to standard error:
            # removing it later would remove that as well.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(console.flush)


def _nothing(width: int, height: int) -> list[Text]:
    return []

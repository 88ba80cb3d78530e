"""Answers to those who could not say who they are, held back for a moment.

That slows whoever tries one token after the other, on the one connection, and nobody else: others come from the same
address, behind a NAT or a TLS terminator, and a token of 256 random bits is not found by trying anyway.
"""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["DELAY", "HELD", "Refusals"]

DELAY: Final = 2.0
"""Seconds until the answer. A client that is not allowed comes back much later anyway."""
HELD: Final = 64
"""Answers that wait, together: up to 96 KiB each, and no place at the door. One more, and the first goes early."""

ANSWER: Final = 1.0
"""Seconds that the answer has to be sent, before the time limit of its connection."""


class Refusals:
    """Counts them, and holds them back."""

    def __init__(self) -> None:
        self.count = 0
        """All there ever were."""
        self._held: dict[trio.CancelScope, None] = {}  # the longest first

    async def hold_back(self, deadline: float) -> None:
        """Count one, and return when it is time to answer: before the deadline of its connection."""
        self.count += 1
        if len(self._held) >= HELD:
            first = next(iter(self._held))
            del self._held[first]  # now, not with its next turn: others may come before that
            first.cancel()
        with trio.CancelScope(deadline=min(trio.current_time() + DELAY, deadline - ANSWER)) as scope:
            self._held[scope] = None
            try:
                await trio.sleep_forever()
            finally:
                self._held.pop(scope, None)

"""What the log says of connections that come to nothing: one line a minute, however many there are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

import trio

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..view import Console

__all__ = ["Kind", "Tally"]

EVERY: Final = 60.0
"""Seconds between lines."""

Kind: TypeAlias = Literal["left", "silent", "strange", "untrusted", "gave_up", "dropped", "refused"]
"""The last one has said who it is, and may not come in: each has a line of its own, for whoever mends or watches it."""

_KINDS: Final[dict[Kind, str]] = {
    "left": "left without a word",
    "silent": "did not say in time who they are",
    "strange": "did not speak as a client does",
    "untrusted": "did not take the certificate here, or had none that is taken here",
    "gave_up": "left, and said why",
    "dropped": "had to make room",
}


class Tally:
    """Counts them. The first of a kind is told immediately, so that whoever tries something out sees what happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts: Counter[Kind] = Counter()
        self._told: set[Kind] = set()

    def add(self, kind: Kind, peer: str, reason: str) -> None:
        """One more; `reason` completes "it was not let in: "."""
        if kind in self._told:
            self._counts[kind] += 1
            return
        if kind in _KINDS:
            self._told.add(kind)
        self._console.complain(f"{peer} was not let in: {reason}", peer=peer, event="not_admitted")

    async def run(self) -> None:
        """Tell the counts of each minute, and at the end those of the minute that it cuts short."""
        try:
            while True:
                await trio.sleep(EVERY)
                self._tell()
        finally:
            self._tell()

    def _tell(self) -> None:
        # A kind that goes on is no news: only after a minute without it, its next one is told by itself again.
        counts, self._counts = self._counts, Counter()
        self._told = set(counts)
        if counts:
            what = ", ".join(f"{counts[kind]:,} {text}" for kind, text in _KINDS.items() if counts[kind])
            self._console.complain(
                f"connections of the last minute that were not let in: {what}",
                level="warning",
                event="turned_away",
                **{str(kind): counts[kind] for kind in _KINDS},
            )

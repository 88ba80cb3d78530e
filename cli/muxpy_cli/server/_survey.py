"""What the listening end's sessions come to, for the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..view import SessionState, Totals, Unlisted

if TYPE_CHECKING:
    from collections import Counter

    from ._peer import Peer

__all__ = ["Survey"]


class Survey:
    """Sums over sessions, and the state of the first ones."""

    def __init__(self, before: Counter[str], most: int | None) -> None:
        """`before` is what ended sessions have come to; of the others, `most` are told one by one. None: all."""
        self._sums = before.copy()
        self._most = most
        self._draining = 0
        self._unlisted = 0
        self.sessions: list[SessionState] = []

    def add(self, peer: Peer) -> None:
        """Look at one more session."""
        figures = peer.session.statistics()
        self._sums["received"] += figures.bytes_received
        self._sums["sent"] += figures.bytes_sent
        self._sums["connections"] += peer.account.total
        self._sums["failed"] += peer.account.failed
        if self._most is None or len(self.sessions) < self._most:
            self.sessions.append(peer.describe(figures))
        else:
            self._unlisted += 1
            self._draining += peer.draining

    @property
    def unlisted(self) -> Unlisted:
        """The sessions that are only counted."""
        return Unlisted(sessions=self._unlisted, draining=self._draining)

    def totals(self, *, refused: int, auth_failures: int) -> Totals:
        """With what does not belong to a session."""
        names = "sessions", "connections", "failed", "received", "sent"
        return Totals(**{name: self._sums[name] for name in names}, refused=refused, auth_failures=auth_failures)

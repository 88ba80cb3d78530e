"""The bad link in memory, on whatever clock Trio runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.helpers.links import Channel, Clip, PipeStream, pipe_pair

from .plan import LinkPlan, Mangler, WayPlan

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryLink"]

LARGEST = 65536
"""Bytes that are joined into one piece at most."""


def reset() -> Exception:
    return ConnectionResetError(104, "Connection reset by peer")


class BadChannel(Channel):
    """One direction. What comes due together is joined."""

    def __init__(self, plan: WayPlan, capacity: float, cut: Callable[[bool], None]) -> None:
        super().__init__(capacity)
        self.mangler = Mangler(plan)
        self._cut = cut
        self._due = 0.0
        self._swallows = False  # the receiver has read the end, and the sender does not know

    def _check_writable(self) -> None:
        if self._swallows:
            self.clip, clip = None, self.clip
            try:
                super()._check_writable()
            finally:
                self.clip = clip
        else:
            super()._check_writable()

    def _put(self, data: bytes) -> None:
        was_over = self.mangler.over
        self.passed += len(data)
        for delay, piece in self.mangler.feed(data):
            self._append(trio.current_time() + delay, piece)
        if self.mangler.over and not was_over:
            self._fault()
        self._changed.unpark_all()

    def _append(self, due: float, piece: bytes) -> None:
        self._due = max(self._due, due)
        self._size += len(piece)
        self.largest = max(self.largest, self._size)
        if self._chunks and self._chunks[-1][0] == self._due and len(self._chunks[-1][1]) < LARGEST:
            _, before = self._chunks.pop()
            piece = before + piece
        self._chunks.append((self._due, piece))

    def _fault(self) -> None:
        fault = self.mangler.plan.fault
        if fault in ("rst", "eof"):
            self._cut(fault == "rst")
        elif fault in ("truncate", "boundary"):
            self._swallows = True
            self.clip = Clip(0)

    def cut(self, *, hard: bool) -> None:
        """End for both; `hard` with an error, and without what was on its way."""
        if hard:
            self._chunks.clear()
            self._size = 0
        self._swallows = False
        self.clip = Clip(0, reset if hard else None)
        self._changed.unpark_all()


class MemoryLink:
    """Two ends and what is between them."""

    def __init__(self, plan: LinkPlan, capacity: float) -> None:
        self._ways = [BadChannel(way, capacity, self.cut) for way in (plan.there, plan.back)]
        self.manglers = [way.mangler for way in self._ways]

    async def ends(self) -> tuple[PipeStream, PipeStream]:
        """The client's and the server's."""
        await trio.lowlevel.checkpoint()
        return pipe_pair(*self._ways)

    async def run(self) -> None:
        """The channels carry by themselves."""

    def cut(self, hard: bool) -> None:
        """End both directions now."""
        for way in self._ways:
            way.cut(hard=hard)

"""The rate limit of a splice: it asks a pacer before it carries bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pacer"]


class Pacer(ABC):
    """A rate limit for splices: the directions that want to carry bytes take turns.

    A turn is for one direction, which its `resume` identifies: the two directions of a connection take turns like two
    connections. All methods are called in Trio's thread. They must not block and must not raise.
    """

    @abstractmethod
    def allow(self, resume: Callable[[], None]) -> int:
        """How many bytes the direction may carry now; the caller then tells `carried` how many it did carry. 0 means
        none: the direction is in line, and `resume()` is called once, when its turn has come. If `allow` is called
        within `resume`, its answer is at least 1. Asking again while in line changes nothing."""

    @abstractmethod
    def carried(self, count: int) -> None:
        """The caller carries `count` bytes. They may be more than were allowed, if they could not be split."""

    @abstractmethod
    def withdraw(self, resume: Callable[[], None]) -> None:
        """The direction leaves the line. Does nothing if it was not in line."""

    async def take(self, count: int) -> None:
        """Wait until `count` bytes, which cannot be split, may be carried, and count them. If cancelled, none of them
        is counted."""

        def resume() -> None:
            self.carried(count)
            counted.set()

        counted = trio.Event()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.allow(resume):
            self.carried(count)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        try:
            await counted.wait()
        except trio.Cancelled:
            self.withdraw(resume)
            raise

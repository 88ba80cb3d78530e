"""When bytes may go on: what a splice asks before it carries any."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pacer"]


class Pacer(ABC):
    """Limits how fast bytes are carried, by letting those that would carry some take turns.

    A turn is for one direction, named by its `resume`: two directions of one connection take turns like two
    connections. Everything here is called in Trio's thread, must not block and must not raise.
    """

    @abstractmethod
    def allow(self, resume: Callable[[], None]) -> int:
        """How many bytes may be carried now, one at least; tell `carried` how many were. 0 if none: then it is in line,
        and `resume()` is called once, when its turn has come. Asked within that call, the answer is not 0. Asking while
        in line changes nothing."""

    @abstractmethod
    def carried(self, count: int) -> None:
        """So many bytes are being carried; more than were allowed if they could not be parted."""

    @abstractmethod
    def withdraw(self, resume: Callable[[], None]) -> None:
        """It waits no longer; nothing happens if it did not."""

    async def take(self, count: int) -> None:
        """Wait until `count` bytes, which cannot be parted, may be carried, and count them. Cancelled, it has counted
        nothing."""

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

"""Rates: connections that share a token bucket take turns, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

import muxpy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ByteBucket", "Rate"]

SHARE: Final = 10
"""A turn is a tenth of a second's worth: small enough that a slow rate flows rather than comes in gushes."""

LEAST: Final = 1024
MOST: Final = 64 * 1024
"""Bytes of a turn at least, or a slow rate would be spent on system calls; and at most: what one read gets anyway."""


class ByteBucket:
    """A token bucket of bytes: lets `rate` of them a second through, sustained, and a second's worth as a burst.

    Bytes are spent first and waited for afterwards: the level may fall below zero, and the debt is the time until it is
    zero again. So a piece larger than the burst is only slowed, and those who share a bucket, each waiting as long as
    it is told, together keep to the rate.
    """

    def __init__(self, rate: float, clock: Callable[[], float], *, full: bool = True) -> None:
        """`clock` gives seconds. The burst, which leaves short answers alone, is there from the beginning if the bucket
        is `full`."""
        if rate <= 0:
            raise ValueError("a rate must be positive")
        self._rate = rate
        self._clock = clock
        self._level = rate if full else 0.0
        self._filled_at = clock()

    def spend(self, count: int) -> None:
        """Count bytes that have passed."""
        self._fill()
        self._level -= count

    @property
    def debt(self) -> float:
        """Seconds to wait before the next bytes; 0.0 if none."""
        self._fill()
        return max(0.0, -self._level / self._rate)

    @property
    def full(self) -> bool:
        """Whether all that was spent is made up for."""
        self._fill()
        return self._level >= self._rate

    def _fill(self) -> None:
        now = self._clock()
        elapsed = max(0.0, now - self._filled_at)  # a clock that goes back must not make a debt grow
        self._filled_at = now
        self._level = min(self._rate, self._level + elapsed * self._rate)


class Rate(muxpy.Pacer):
    """`rate` bytes a second for all who ask, and within the rate of `outer`, if there is one.

    Bytes go while the bucket is not in debt; one turn may bring it into debt. Who comes while it is, or while others
    wait, stands in line, and the line is served in its order, so nothing is gained by more connections, or by new ones.
    """

    def __init__(self, rate: float, outer: Rate | None = None, *, full: bool = True) -> None:
        """A `full` one lets a second's worth through at the beginning."""
        self.rate = rate
        self.outer = outer
        self._bucket = ByteBucket(rate, trio.current_time, full=full)
        self._line: dict[Callable[[], None], None] = {}
        self._turn: Callable[[], None] | None = None
        self._serving = False
        self._repaying = trio.CancelScope()

    def change(self, rate: float) -> None:
        """Have another rate from now on, for who waits too. The bucket is empty then: a reload must not fill it."""
        if rate != self.rate:
            self.rate = rate
            self._bucket = ByteBucket(rate, trio.current_time, full=False)
            self._repaying.cancel()  # at the old rate a debt may last for an hour

    def allow(self, resume: Callable[[], None]) -> int:
        """As `Pacer` has it."""
        if self._turn == resume:
            self._turn = None
        elif not self._free:
            self._stand_in_line(resume)
            return 0
        return self._most

    @property
    def _free(self) -> bool:
        return not self._line and not self._bucket.debt and (self.outer is None or self.outer._free)

    @property
    def _most(self) -> int:
        most = max(LEAST, min(MOST, round(self.rate / SHARE)))
        return most if self.outer is None else min(most, self.outer._most)

    @property
    def full(self) -> bool:
        """Whether it remembers nothing that a new one would not begin with."""
        return not self._line and self._bucket.full

    def carried(self, count: int) -> None:
        """As `Pacer` has it."""
        self._bucket.spend(count)
        if self.outer is not None:
            self.outer.carried(count)

    def withdraw(self, resume: Callable[[], None]) -> None:
        """As `Pacer` has it."""
        self._line.pop(resume, None)

    def _stand_in_line(self, resume: Callable[[], None]) -> None:
        self._line[resume] = None
        if not self._serving:
            self._serving = True
            trio.lowlevel.spawn_system_task(self._serve, name="muxpy rate")

    async def _serve(self) -> None:
        """Give turns until nobody waits any more."""
        while self._line:
            await self._repay()
            if self.outer is None:
                self._give_turn()
            else:
                await self._give_turn_within(self.outer)
        self._serving = False

    async def _repay(self) -> None:
        """Wait until the bucket is out of debt, or is another one."""
        with trio.CancelScope() as self._repaying:
            await trio.sleep(self._bucket.debt)

    def _give_turn(self) -> None:
        if self._line:  # else the last one has gone meanwhile
            resume = next(iter(self._line))
            del self._line[resume]
            self._turn = resume
            resume()
            self._turn = None

    async def _give_turn_within(self, outer: Rate) -> None:
        """One of ours at a time waits there, so that each line within the outer one gets the same."""

        def resume() -> None:
            self._give_turn()
            given.set()

        given = trio.Event()
        outer._stand_in_line(resume)
        await given.wait()

"""Rate limits: connections that share a token bucket take turns, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

import muxpy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ByteBucket", "Rate"]

SHARE: Final = 10
"""A turn is a tenth of a second's worth: small enough that a slow rate flows smoothly, without bursts."""

LEAST: Final = 1024
MOST: Final = 64 * 1024
"""Minimum bytes of a turn, or a slow rate would cost many system calls; and maximum, which is one read."""


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
    """A sustained rate of `rate` bytes a second for all connections together, within the rate of `outer`, if any.

    Bytes pass while the token bucket is not in debt; one turn may bring it into debt. A connection that asks during a
    debt, or while others wait, joins the queue, which is first in, first out: more or newer connections gain nothing.
    If each waited for its own share of the debt instead, a thousand connections that come together would each carry a
    first piece.
    """

    def __init__(self, rate: float, outer: Rate | None = None, *, full: bool = True) -> None:
        """A `full` bucket starts with a second's worth of bytes."""
        self.rate = rate
        self.outer = outer
        self._bucket = ByteBucket(rate, trio.current_time, full=full)
        self._line: dict[Callable[[], None], None] = {}
        self._turn: Callable[[], None] | None = None
        self._serving = False
        self._repaying = trio.CancelScope()

    def change(self, rate: float) -> None:
        """Apply another rate, also to those that wait. The bucket starts empty: a reload must not fill it."""
        if rate != self.rate:
            self.rate = rate
            self._bucket = ByteBucket(rate, trio.current_time, full=False)
            self._repaying.cancel()  # at the old rate a debt may last for an hour

    def allow(self, resume: Callable[[], None]) -> int:
        """See `Pacer`."""
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
        """Whether it is like a new one, so that nothing is lost by forgetting it."""
        return not self._line and self._bucket.full

    def carried(self, count: int) -> None:
        """See `Pacer`."""
        self._bucket.spend(count)
        if self.outer is not None:
            self.outer.carried(count)

    def withdraw(self, resume: Callable[[], None]) -> None:
        """See `Pacer`."""
        self._line.pop(resume, None)

    def _stand_in_line(self, resume: Callable[[], None]) -> None:
        self._line[resume] = None
        if not self._serving:
            self._serving = True
            trio.lowlevel.spawn_system_task(self._serve, name="muxpy rate")

    async def _serve(self) -> None:
        """Give turns until none wait."""
        while self._line:
            await self._repay()
            if self.outer is None:
                self._give_turn()
            else:
                await self._give_turn_within(self.outer)
        self._serving = False

    async def _repay(self) -> None:
        """Wait until the bucket is out of debt, or was replaced."""
        with trio.CancelScope() as self._repaying:
            await trio.sleep(self._bucket.debt)

    def _give_turn(self) -> None:
        if self._line:  # the last one may have withdrawn
            resume = next(iter(self._line))
            del self._line[resume]
            self._turn = resume
            resume()
            self._turn = None

    async def _give_turn_within(self, outer: Rate) -> None:
        """One connection of ours at a time waits there, so that each rate within the outer one gets the same share:
        a session with many connections gets no more than one with a few."""

        def resume() -> None:
            self._give_turn()
            given.set()

        given = trio.Event()
        outer._stand_in_line(resume)
        await given.wait()

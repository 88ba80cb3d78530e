"""Limiting how fast bytes flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TokenBucket"]


class TokenBucket:
    """Lets `rate` bytes a second through, on average, and `burst` bytes at once after a rest.

    Bytes are taken first and waited for afterwards: the level may fall below zero, and the wait is the time until
    it is zero again. So a piece larger than the burst is only slowed, and takers who share a bucket, each waiting as
    long as it is told, together keep to the rate.
    """

    def __init__(
        self, rate: float, clock: Callable[[], float], burst: float | None = None, *, full: bool = True
    ) -> None:
        """`clock` gives seconds. The burst is a second's worth if not given, which leaves short answers alone; it is
        there from the beginning if the bucket is `full`."""
        if rate <= 0 or (burst is not None and burst < 0):
            raise ValueError("a rate must be positive, and a burst must not be negative")
        self.rate = rate
        self._burst = rate if burst is None else burst
        self._clock = clock
        self._level = self._burst if full else 0.0
        self._filled_at = clock()

    def take(self, n: int) -> float:
        """Count `n` bytes; the seconds to wait before the next ones, 0.0 if none."""
        if n < 0:
            raise ValueError("bytes cannot be given back")
        self._fill()
        self._level -= n
        return max(0.0, -self._level / self.rate)

    @property
    def full(self) -> bool:
        """Whether all that was taken is made up for."""
        self._fill()
        return self._level >= self._burst

    def _fill(self) -> None:
        now = self._clock()
        elapsed = max(0.0, now - self._filled_at)  # a clock that goes back must not make a debt grow
        self._filled_at = now
        self._level = min(self._burst, self._level + elapsed * self.rate)

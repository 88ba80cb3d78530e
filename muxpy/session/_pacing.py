"""When to write now, and how much: what decides is what a message costs.

- **More than 4 KiB**: the sender writes it itself, straight from its own buffer, if no write is under way: a system
  call is cheap for so much. If the socket is full, it stands in line, and the writer task goes on when there is room.
- **Less**, while nothing stands in line: it is copied and framed immediately, and its sender goes on without being
  woken again. If the last read woke one task at most, that task also writes it: a request and its answer then cost no
  second task switch. Otherwise messages come together until there are 32, or until the writer task gets its turn: one
  system call sends what many tasks have, and the peer can begin with the first ones while the rest is made.
- **Several large ones, and the socket is full**: the scheduler divides each batch of 128 KiB by weight, in turns of one
  frame. Where more than 1 GB/s goes out, turns have four frames, and without weights a batch takes all that stands in
  line: the wait is as short, and the senders are soon back to writing for themselves.
- **Less, and nothing was received since the last batch**: not answers, but a stream of small messages. The writer task
  lets more come together as long as more come.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BATCH_SIZE", "ENOUGH_FRAMES", "PATIENCE", "SMALL", "Pacing", "Portion"]

BATCH_SIZE: Final = 128 * 1024
"""Bytes of data in one batch: enough to make a system call cheap, little enough that a small message which comes
next does not wait long."""

SMALL: Final = 4096
"""Bytes of a message that is copied and framed immediately: copying them costs less than waking its sender later."""

ENOUGH_FRAMES: Final = 32
"""Small messages that are written without waiting for more: a system call among so many is cheap already, and the
peer can begin with them while the rest is being made."""

PATIENCE: Final = 0.001
"""Seconds that a small message may wait for others. A program that works between its messages makes the turns of the
scheduler long, and counting turns alone would let them pile up."""

FAST: Final = 1e-9
"""Seconds a byte: 1 GB/s. What leaves faster goes in larger batches and longer turns: the wait for them is as short, it
takes fewer turns of the scheduler, and the receiver gets four frames of a stream in a row, which wakes its reader once
and not four times."""

LONG_TURN: Final = 4
LARGE_BATCH: Final = 4 * BATCH_SIZE

WEIGHED: Final = 64
"""Sends after one of another priority that leave it to the scheduler who goes first."""

SMOOTHING: Final = 16
"""Batches over which the pace is taken: slowly, since shares are taken in turns."""


class Portion(NamedTuple):
    """How much goes into the next batch: see `Sending.next_batch`."""

    limit: int
    quanta: int = 1
    exact: bool = True


USUAL: Final = Portion(BATCH_SIZE)
WEIGHED_AND_FAST: Final = Portion(BATCH_SIZE, LONG_TURN)
# All of one weight: what stands in line may go together, so that its senders write for themselves again.
FAST_AND_EQUAL: Final = Portion(LARGE_BATCH, LONG_TURN, exact=False)


class Pacing:
    """What one writer has seen lately, and what follows from it."""

    __slots__ = (
        "_clock",
        "_last_priority",
        "_pace",
        "_reads",
        "_seen",
        "_weigh_until",
        "alone",
        "corked",
        "portion",
        "sends",
        "written",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.alone = True  # the last read woke one task at most, and it has not written yet
        self.corked = False  # more is about to come
        self.sends = 0  # larger messages so far
        self.written = -inf  # when the last batch was
        self._last_priority = 0
        self._weigh_until = 0  # sends
        self.portion = USUAL
        """How much goes into the next batch."""
        self._pace = 2 * FAST  # seconds a byte, of the last batches
        self._reads = 0
        self._seen = 0  # reads up to the last batch of the writer task

    # ---- what happens ----

    def received(self, woken: int) -> None:
        """A read has woken so many tasks: if more than one, let them line up before anything is written."""
        self.alone = woken <= 1
        self._reads += 1

    def caught_up(self) -> None:
        """The writer task has written all that there was."""
        self._seen = self._reads

    def wrote_in(self, size: int, seconds: float) -> None:
        """The writer task has written so many bytes, and so long the transport took for them."""
        if size >= SMALL:  # or it says more about the scheduler than about the way
            self._pace += (seconds / size - self._pace) / SMOOTHING
            self._set_portion()

    # ---- what follows ----

    def small_goes_now(self, frames: int) -> bool:
        """Whether the sender of a small message writes it itself, with all `frames` that have come together. It does
        also if it is `alone` and nothing is `corked`, which the writer sees for itself: most messages are such."""
        if frames >= ENOUGH_FRAMES:
            return True
        return not self.corked and self._clock() > self.written + PATIENCE

    def large_goes_now(self, priority: int) -> bool:
        """Whether the sender of a larger message writes it itself, if nobody is in its way.

        While senders of different priorities take turns, all stand in line: their turns on the processor are equal, and
        only the scheduler knows weights.
        """
        if priority != self._last_priority:
            self._last_priority = priority
            self._weigh_until = self.sends + WEIGHED
        goes = not self._weighing
        self.sends += 1
        if self._pace < FAST:
            self._set_portion()
        return goes

    @property
    def streaming(self) -> bool:
        """Whether nothing was received since the last batch: small messages are a stream of their own then."""
        return self._seen == self._reads

    def _set_portion(self) -> None:
        if self._pace >= FAST:
            self.portion = USUAL
        else:
            self.portion = WEIGHED_AND_FAST if self._weighing else FAST_AND_EQUAL

    @property
    def _weighing(self) -> bool:
        """Whether senders of different priorities take turns."""
        return self.sends < self._weigh_until

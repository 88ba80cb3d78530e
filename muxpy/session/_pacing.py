"""When to write, and how much (write coalescing): the cost of a message decides.

- **A message of more than 4 KiB**: its sender writes it itself, straight from its own buffer, if no write is under way:
  for so much data a system call is cheap. If the socket is full, the data stands in line, and the writer task goes on
  when there is room.
- **A smaller message**, while no data stands in line: it is copied and framed immediately, and its sender goes on
  without being woken again. If the last read woke at most one task, the sender also writes it, so a request and its
  answer cost no second task switch. Otherwise messages come together until there are 32, or nothing was written for a
  millisecond, or the writer task gets its turn: one system call sends the messages of many tasks, and the peer can
  begin with the first ones while the rest is made. The first answer of several waits for the others in any case.
- **Several large messages, and the socket is full**: the scheduler divides each batch of 128 KiB by weight, in turns of
  one frame. Where more than 500 MB/s goes out, a turn has four frames, and without weights a batch takes all data that
  stands in line: the wait is as short, and the senders soon write for themselves again. Above 2 GB/s a turn has
  sixteen.
- **Smaller messages, and nothing was received since the last batch**: these are not answers, but a stream of messages.
  The writer task waits as long as more of them come (Nagle's idea, in passes of the scheduler).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BATCH_SIZE", "ENOUGH_FRAMES", "PATIENCE", "SMALL", "Pacing", "Portion"]

BATCH_SIZE: Final = 128 * 1024
"""Bytes of data in one batch: enough to make a system call cheap, and so few that a small message which comes next does
not wait long (head-of-line blocking)."""

SMALL: Final = 4096
"""Bytes of a message that is copied and framed immediately, at most: a copy costs less than waking the sender later."""

ENOUGH_FRAMES: Final = 32
"""Small messages that are written without waiting for more: a system call for so many is cheap already, and the peer
can begin with them while the rest is being made."""

PATIENCE: Final = 0.001
"""Seconds that a small message may wait for others. If a program computes between its messages, the passes of the
scheduler are long, and counting passes alone would let messages pile up."""

GIGABIT: Final = 8e-9
"""Seconds a byte at 1 Gbit/s, where a frame takes an eighth of a millisecond. Faster data goes in larger batches, and
in turns of as many frames as leave in that time: the wait for them is as short, it takes fewer passes of the scheduler,
and the receiver gets the frames of a stream in a row, which wakes its reader once and not for each of them."""

LONG_TURN: Final = 4
LONGEST_TURN: Final = 16
LARGE_BATCH: Final = 4 * BATCH_SIZE

WEIGHED: Final = 64
"""After the priority of sends has changed, the scheduler decides the order of this many sends."""

SMOOTHING: Final = 16
"""Batches over which the pace is averaged. It changes slowly, since the streams share the batches in turns."""


class Portion(NamedTuple):
    """How much goes into the next batch: see `Sending.next_batch`."""

    limit: int
    quanta: int = 1
    exact: bool = True


USUAL: Final = Portion(BATCH_SIZE)
WEIGHED_AND_FAST: Final = Portion(BATCH_SIZE, LONG_TURN)
# All have the same weight: data that stands in line may go together, so that its senders write for themselves again.
FAST_AND_EQUAL: Final = Portion(LARGE_BATCH, LONG_TURN, exact=False)
FASTEST_AND_EQUAL: Final = Portion(LARGE_BATCH, LONGEST_TURN, exact=False)


class Pacing:
    """What one writer has seen lately, and when and how much it writes because of that."""

    __slots__ = (
        "_clock",
        "_expected",
        "_last_priority",
        "_pace",
        "_reads",
        "_seen",
        "_weigh_until",
        "_weighing",
        "alone",
        "corked",
        "portion",
        "sends",
        "written",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.alone = True  # the last read woke one task at most, and it has not written yet
        self.corked = False  # more messages are about to come, as with TCP_CORK
        self.sends = 0  # larger messages so far
        self.written = -inf  # when the last batch was written, or the first of several answers was framed
        self._expected = 0  # answers that the tasks woken by the last read may still send
        self._last_priority = 0
        self._weigh_until = 0  # the number of sends up to which the scheduler decides
        self._weighing = False  # senders of different priorities take turns
        self.portion = USUAL
        """How much goes into the next batch."""
        self._pace = GIGABIT  # seconds a byte, averaged over the last batches
        self._reads = 0
        self._seen = 0  # reads up to the last batch of the writer task

    # ---- what happens ----

    def received(self, woken: int) -> None:
        """A read has woken `woken` tasks. If they are several, let them line up before anything is written."""
        self.alone = woken <= 1
        self._reads += 1
        self._expected = woken

    def caught_up(self) -> None:
        """The writer task has written all that there was."""
        self._seen = self._reads

    def wrote_in(self, size: int, seconds: float) -> None:
        """The writer task has written `size` bytes, and the transport took `seconds` for them."""
        if size >= SMALL:  # fewer bytes would say more about the scheduler than about the network
            self._pace += (seconds / size - self._pace) / SMOOTHING
            self._set_portion()

    # ---- what follows ----

    def small_goes_now(self, frames: int) -> bool:
        """Whether the sender of a small message writes it itself, with all `frames` that have come together. It also
        does so if it is `alone` and nothing is `corked`; the writer checks that first, since most messages are such."""
        if frames >= ENOUGH_FRAMES:
            return True
        if self.corked:
            return False
        now = self._clock()
        self._expected -= 1
        if frames == 1 and self._expected > 0:
            self.written = now  # the first of several answers waits for the others
        return now > self.written + PATIENCE

    def large_goes_now(self, priority: int) -> bool:
        """Whether the sender of a larger message writes it itself, if no other data is in its way.

        While senders of different priorities take turns, all stand in line: they get equal turns on the processor, and
        only our scheduler knows their weights.
        """
        if priority != self._last_priority:
            self._last_priority = priority
            self._weigh_until = self.sends + WEIGHED
        goes = self.sends >= self._weigh_until
        self.sends += 1
        weighing = self.sends < self._weigh_until
        if weighing is not self._weighing:
            self._weighing = weighing
            self._set_portion()
        return goes

    @property
    def streaming(self) -> bool:
        """Whether nothing was received since the last batch: small messages are then not answers."""
        return self._seen == self._reads

    def _set_portion(self) -> None:
        if self._pace > GIGABIT / LONG_TURN:
            self.portion = USUAL
        elif self._weighing:
            self.portion = WEIGHED_AND_FAST
        else:
            self.portion = FAST_AND_EQUAL if self._pace > GIGABIT / LONGEST_TURN else FASTEST_AND_EQUAL

"""Who reads from the transport: the session's reader task, or a task that waits for what comes (leader and followers).

The pass of Trio's scheduler from the task that reads to the task that waits for the answer is half of a lone round
trip. So a task that waits, in `receive_some` or `accept_stream`, may take the lead: it waits for the transport itself,
feeds the core, wakes others for whom something came, and leaves as soon as it has what it waits for.

                     begins to wait                     has what it waits for, alone
    the reader task ────────────────► a task that waits ────────────────────────────► nobody: the task is on its way
      ▲      ▲                          │            ▲                                    │       │
      │      └──────────────────────────┘            └────────────────────────────────────┘       │
      │        cancelled; others were woken too                   begins to wait                  │
      └───────────────────────────────────────────────────────────────────────────────────────────┘
                                        suspends itself for anything else

- **The lead is never lost.** A task that has its answer mostly sends something and waits again, with nothing between
  but the checkpoints of our own methods. While that is so, nobody reads. As soon as it suspends itself in any other
  way, the reader task reads: `_Steps` sees each step of a task. Otherwise a sender that waits for window, a heartbeat
  or the end of the transport would wait for ever.
- **Taking the lead from somebody has a price**: their wait is ended, and they run once for nothing. So a task does that
  only after some reads in a row have woken one task each: then there is a lone receiver, and the task that begins to
  wait now is most likely the one that was woken last. If it loses the lead soon, more such reads are needed next time.
  With many streams, reads wake several tasks, and the reader task reads as if there were no leaders.
- **A leader waits for the transport and nothing else**, so whatever else may end its wait must interrupt it: a close or
  reset of its stream by another task, and the end of the session.

`serve_streams` needs no lead: the task that reads gives the stream to a handler's task, and that is the only pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ._parking import Parking

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.transport import Transport

    from ._reader import Reader

__all__ = ["Lead"]

PATIENCE: Final = 8
"""Checkpoints of a task on its way that the lead waits for: a call that closes its stream, opens the next one, sends
and waits again has four to six."""

FEWEST: Final = 2
"""Reads in a row which woke one task each, before a task takes the lead from another."""

MOST: Final = 256
"""The same when that has proved wrong often."""

WORTH_IT: Final = 8
"""Waits for which the lead must be kept to have been worth its price."""


class Lead:
    """Decides who reads. The reader task calls `run`; a task that must wait asks `free`, and then calls `take`."""

    __slots__ = (
        "_bug",
        "_kept",
        "_leader",
        "_led",
        "_needed",
        "_parked",
        "_patience",
        "_reader",
        "_steps",
        "_transport",
        "_wanted",
        "on_its_way",
    )

    def __init__(self, reader: Reader, transport: Transport) -> None:
        self._reader = reader
        self._transport = transport
        self._steps = _Steps.current()
        self._led = False  # tasks take the lead, and the reader task does not read
        self._leader: trio.lowlevel.Task | None = None
        self._wanted: object = None  # what the leader waits for
        self.on_its_way: trio.lowlevel.Task | None = None  # has left the lead, and may wait again soon
        self._patience = 0  # its checkpoints that are left
        self._parked = Parking()  # the reader task, which is the one that runs the session, while others read
        self._needed = FEWEST
        self._kept = 0  # waits for which the lead was kept
        self._bug: Exception | None = None  # raised in a leader; the reader task ends the session with it

    # ---- the reader task ----

    async def run(self, *, first_frame: bool = False) -> None:
        """Read whenever nobody else does, until the transport ends; or, if that is asked for, until the first frame has
        come. It may be cancelled and called again."""
        reader = self._reader
        try:
            while not reader.over and not (first_frame and reader.first_frame is None):
                if self._bug is not None:
                    raise self._bug
                if self._leader is not None or self.on_its_way is not None:
                    await self._parked.park()
                elif reader.rest is not None:
                    await reader.act_on_rest()
                else:
                    self._end_leading()
                    await reader.read()
        finally:
            self._end_leading()

    # ---- a task that waits ----

    def free(self, wanted: object) -> bool:
        """Whether a task that waits for news of `wanted` may take the lead now."""
        reader = self._reader
        if self.on_its_way is not None:
            return reader.rest is None
        return reader.lone >= self._needed and self._transport.waiting and self._wanted is not wanted

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C in the midst of a frame's rules would leave the core in pieces
    async def take(self, wanted: object, must_wait: Callable[[], bool]) -> bool:
        """Take the lead, and read until not `must_wait()`. Returns False if it had to leave earlier."""
        reader = self._reader
        task = trio.lowlevel.current_task()
        if self.on_its_way is not None:
            self._forget()
            self._kept += 1
        else:
            self._take_away()
        self._leader, self._wanted = task, wanted
        alone = False
        try:
            while await reader.read() and reader.rest is None and not reader.over:
                if not must_wait():
                    alone = reader.lone > 0
                    return True
        except Exception as bug:
            self._bug = bug
        finally:
            if self._leader is task:  # otherwise another task has taken the lead
                self._leader = self._wanted = None
                if alone and self._led:  # otherwise nobody would see that it does something else
                    self.on_its_way = task
                    self._patience = PATIENCE
                    self._steps.watch(task, self)
                else:
                    self._parked.wake()
        return False

    def _take_away(self) -> None:
        """Take the lead from the reader task or from another task."""
        if self._leader is not None:
            self._judge()
        self._transport.interrupt()
        if not self._led:
            self._led = True
            self._steps.begin()

    def interrupt(self, wanted: object = None) -> None:
        """Have the leader look again, if it waits for news of `wanted`, or in any case."""
        if self._leader is not None and wanted in (None, self._wanted):
            self._transport.interrupt()

    # ---- a task on its way ----

    def comes_back(self) -> None:
        """To be called immediately before a checkpoint of our own: if this task has left the lead, it comes back."""
        self._steps.excused = self.on_its_way  # which this task need not be: then it means nothing

    def _forget(self) -> None:
        if self.on_its_way is not None:
            del self._steps.watched[self.on_its_way]
            self.on_its_way = None

    def waits_on(self) -> bool:
        """The task on its way was at a checkpoint of our own. Returns whether the lead waits for it once more."""
        self._patience -= 1
        return self._patience >= 0

    def give_up(self) -> None:
        """The task on its way does something else."""
        self.on_its_way = None
        self._judge()
        self._parked.wake()

    def _judge(self) -> None:
        """The lead is lost: was it right to take it?"""
        self._needed = FEWEST if self._kept >= WORTH_IT else min(2 * self._needed, MOST)
        self._kept = 0
        self._reader.lone = 0

    def _end_leading(self) -> None:
        if self._led:
            self._led = False
            self._forget()
            self._steps.end()


class _Steps(trio.abc.Instrument):
    """Tells a `Lead` when the task on its way suspends itself. It is installed only while some session is led, since
    Trio then calls it for each step of each task."""

    def __init__(self) -> None:
        self.watched: dict[trio.lowlevel.Task, Lead] = {}
        self.excused: trio.lowlevel.Task | None = None  # it ends its step now, and comes back
        self._leads = 0  # sessions that are led

    @classmethod
    def current(cls) -> _Steps:
        """This run's."""
        try:
            return _steps.get()
        except LookupError:
            _steps.set(steps := cls())
            return steps

    def begin(self) -> None:
        """One more session is led."""
        if not self._leads:
            trio.lowlevel.add_instrument(self)
        self._leads += 1

    def end(self) -> None:
        """A session is not led any more."""
        self._leads -= 1
        if not self._leads:
            trio.lowlevel.remove_instrument(self)

    def watch(self, task: trio.lowlevel.Task, lead: Lead) -> None:
        """Have `lead` give up at the end of the step in which `task` suspends itself."""
        before = self.watched.get(task)
        self.watched[task] = lead
        if before is not None:  # it has left the lead of another session
            before.give_up()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        lead = self.watched.get(task)
        if lead is not None and not (task is self.excused and lead.waits_on()):
            del self.watched[task]
            lead.give_up()
        self.excused = None


_steps: trio.lowlevel.RunVar[_Steps] = trio.lowlevel.RunVar("muxpy steps")

"""Turns: work that many sessions would do in the same pass of Trio's scheduler is spread over the passes that follow.

A lock would not do. It would be free again within the same pass, as soon as its holder has dispatched, and sixty
sessions that became readable together would all have their turn in that pass. So a task of the run, the rotor, gives
the turn to the next session in the following pass. It sleeps while nobody has to take turns.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Turns", "ending_turns"]

FEW_ENDINGS: Final = 8
"""Sessions that may end in the same pass: each takes half a millisecond or more, with all that follows from it."""

_rotor: trio.lowlevel.RunVar[_Rotor] = trio.lowlevel.RunVar("muxpy rotor")
_endings: trio.lowlevel.RunVar[Turns] = trio.lowlevel.RunVar("muxpy endings")


class Turns:
    """One turn in each pass of Trio's scheduler, for the members that ask for one."""

    def __init__(self, few: int = 1) -> None:
        """Up to `few` members need not take turns: the work of all of them fits into one pass."""
        self._few = few
        self._members = 0
        self._free = True  # nobody has had a turn in this pass yet
        self._waiting: dict[trio.lowlevel.Task, None] = {}  # the first one is next

    @contextmanager
    def member(self) -> Iterator[None]:
        """Count as one of those who take turns while the block runs."""
        self._members += 1
        try:
            yield
        finally:
            self._members -= 1

    @property
    def crowded(self) -> bool:
        """Whether there are so many members that they must take turns."""
        return self._members > self._few

    @property
    def contended(self) -> bool:
        """Whether somebody waits for a turn."""
        return bool(self._waiting)

    async def turn(self) -> None:
        """Wait for a turn: in each pass of the scheduler one task gets one. There is no checkpoint if nobody has had
        the turn of this pass."""
        if self._free:
            _Rotor.current().free_later(self)
            self._free = False
            return

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        task = trio.lowlevel.current_task()
        self._waiting[task] = None
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def in_turn(self) -> None:
        """Wait for a turn if there are more than a few members."""
        if self.crowded:
            await self.turn()

    def next_pass(self) -> bool:
        """A new pass has begun. Returns whether a task that waited gets the turn in it."""
        if not self._waiting:
            self._free = True
            return False
        task = next(iter(self._waiting))
        del self._waiting[task]
        trio.lowlevel.reschedule(task)
        return True


def ending_turns() -> Turns:
    """The turns of this run in which sessions end, step by step.

    When a network or a proxy fails, thousands of sessions end in the same moment. Each step makes work for a few tasks
    in the next passes. Without turns, the work for all sessions would fall into the same pass, and no other task would
    run until it is done. A session that ends alone waits for nobody.
    """
    try:
        return _endings.get()
    except LookupError:
        _endings.set(turns := Turns(FEW_ENDINGS))
        return turns


class _Rotor:
    """Tells groups when a new pass of the scheduler begins. It is a task of the run, parked while no group has had a
    turn."""

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None  # parked
        self._due: list[Turns] = []  # groups that had their turn in an earlier pass
        self._later: list[Turns] = []  # groups that had it since this task ran: perhaps in the current pass

    @classmethod
    def current(cls) -> _Rotor:
        """This run's rotor, started if need be."""
        try:
            return _rotor.get()
        except LookupError:
            rotor = cls()
            trio.lowlevel.spawn_system_task(rotor._run, name="muxpy rotor")
            _rotor.set(rotor)
            return rotor

    def free_later(self, group: Turns) -> None:
        """The group has had its turn of this pass."""
        if self._task is None:
            self._later.append(group)
        else:  # the task is woken now, so it runs in the next pass
            self._due.append(group)
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def _run(self) -> None:
        while True:
            due, self._due, self._later = self._due, self._later, []
            self._due += [group for group in due if group.next_pass()]
            del due  # otherwise the parked task would keep groups alive that nobody uses any more
            if self._due:
                await trio.lowlevel.checkpoint()
            else:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

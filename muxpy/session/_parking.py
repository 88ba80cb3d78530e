"""Places where tasks of a session wait: one until it is needed, or several until there is something for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lot", "Parking"]


class Parking:
    """At most one task is parked here; `wake` lets it go on, if there is one."""

    __slots__ = ("_task", "start")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self.start: Callable[[], None] | None = None
        """Starts the task, if there is none; `wake` calls it."""

    @property
    def empty(self) -> bool:
        """Whether no task is parked."""
        return self._task is None

    async def park(self) -> None:
        """Wait for `wake`."""
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._give_up)

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Let the parked task go on, or start it."""
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None
        elif self.start is not None:
            start, self.start = self.start, None
            start()


class Lot:
    """A trio.lowlevel.ParkingLot, made when a task first waits: where nobody does, it would take 300 bytes."""

    __slots__ = ("_lot",)

    def __init__(self) -> None:
        self._lot: trio.lowlevel.ParkingLot | None = None

    async def park(self) -> None:
        """Wait to be unparked."""
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        await self._lot.park()

    def unpark(self) -> None:
        """Let the task go on that has waited longest, if there is one."""
        if self._lot is not None:
            self._lot.unpark()

    def unpark_all(self) -> None:
        """Let all tasks go on."""
        if self._lot is not None:
            self._lot.unpark_all()

"""A place where one task of a session waits until it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Parking"]


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

"""The tasks of `serve_streams`. A task that has handled a stream handles the next one, since starting a task costs a
sixth of all that a short stream costs."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy.proto import StreamState

__all__ = ["Handlers"]

MOST_IDLE: Final = 64
"""Tasks that are kept for the next streams; each takes two kilobytes."""


class Handlers:
    """Runs `handle` for each stream that is given to `start`, with the context (contextvars) in which this was made."""

    def __init__(self, nursery: trio.Nursery, handle: Callable[[StreamState], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._handle = handle
        # Otherwise a task would inherit the context of the one that starts it: whichever task reads at that moment.
        self._context = copy_context()
        self._idle: list[trio.lowlevel.Task] = []
        self._given: dict[trio.lowlevel.Task, StreamState] = {}  # to idle tasks that have not run yet
        self._closed = False

    def start(self, state: StreamState) -> None:
        """Handle this stream, in a task that is idle or in a new one."""
        if self._idle:
            task = self._idle.pop()
            task.context = self._context.copy()  # as for a new task: what an earlier handler has set there is gone
            self._given[task] = state
            trio.lowlevel.reschedule(task)
        else:
            self._context.run(self._start_task, state)

    def _start_task(self, state: StreamState) -> None:
        self._nursery.start_soon(self._run, state)

    def close(self) -> None:
        """No more streams come: let the idle tasks end."""
        self._closed = True
        while self._idle:
            trio.lowlevel.reschedule(self._idle.pop())

    async def _run(self, state: StreamState | None) -> None:
        while state is not None:
            await self._handle(state)
            del state  # while it waits, the stream must not be kept
            state = await self._next()

    async def _next(self) -> StreamState | None:
        """Wait for the next stream; None if this task is not needed any more."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        if self._closed or len(self._idle) >= MOST_IDLE:
            return None
        task = trio.lowlevel.current_task()
        self._idle.append(task)
        await trio.lowlevel.wait_task_rescheduled(abort)
        return self._given.pop(task, None)

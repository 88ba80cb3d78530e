"""The tasks of `serve_streams`. A task that has handled a stream handles the next one, since starting a task costs a
sixth of all that a short stream costs."""

from __future__ import annotations

import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

import trio

from muxpy._codes import ErrorCode
from muxpy._errors import only_lost

from ._watching import watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy.proto import StreamState

    from ._engine import Engine
    from ._stream import SessionOfStream, Stream
    from ._watching import Cut

    Handler = Callable[[Stream], Awaitable[object]]

__all__ = ["Handler", "Handlers"]

log = logging.getLogger("muxpy.session")

MOST_IDLE: Final = 64
"""Tasks that are kept for the next streams; each takes two kilobytes."""


class Handlers:
    """Runs `handler` for each stream that is given to `start`, with the context (contextvars) in which this was made.

    `while_wanted`: cancel the handler when something cuts its stream short.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        engine: Engine,
        session: SessionOfStream,
        kind: type[Stream],
        handler: Handler,
        *,
        while_wanted: bool,
    ) -> None:
        self._nursery = nursery
        self._engine = engine
        self._session = session
        self._kind = kind
        self._handler = handler
        self._while_wanted = while_wanted
        # Otherwise a task would inherit the context of the one that starts it: whichever task reads at that moment.
        self._context = copy_context()
        self._idle: list[trio.lowlevel.Task] = []
        self._given: dict[trio.lowlevel.Task, StreamState] = {}  # to idle tasks that have not run yet
        self._living = 0  # tasks, also those that are idle
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
        self._living += 1
        self._nursery.start_soon(self._run, state)

    def rest(self) -> None:
        """Let the idle tasks end: no stream has come for a while."""
        while self._idle:
            trio.lowlevel.reschedule(self._idle.pop())

    def close(self) -> None:
        """No more streams come."""
        self._closed = True
        self.rest()

    async def all_done(self) -> None:
        """Wait until all streams have been handled, after `close`."""
        await self._engine.ending.until(lambda: not self._living)

    async def _run(self, state: StreamState | None) -> None:
        task = trio.lowlevel.current_task()

        def leave(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        while state is not None:
            stream = self._kind(self._session, self._engine, state)
            try:
                if self._while_wanted:
                    await self._handle_while_wanted(stream, state)
                else:
                    await self._handler(stream)
            except Exception as error:
                if only_lost(error):
                    log.info("%r: handler ended: %s", stream, error)
                else:
                    log.exception("%r: handler failed, the stream is reset", stream)
                stream.reset(ErrorCode.INTERNAL_ERROR)
            except BaseException:
                stream.reset(ErrorCode.CANCEL)
                raise
            else:
                self._engine.end_stream(state, None)
            finally:
                self._engine.core.let_go(state)
            del stream, state  # while the task is idle, nothing of the stream must be kept
            if self._closed or len(self._idle) >= MOST_IDLE:
                break
            self._idle.append(task)
            await trio.lowlevel.wait_task_rescheduled(leave)
            state = self._given.pop(task, None)
        self._living -= 1  # if it was cancelled, so is whoever waits for that
        if self._closed:
            self._engine.ending.news()

    async def _handle_while_wanted(self, stream: Stream, state: StreamState) -> None:
        """A peer may send, close and leave, and its data is still to be read, so this is only done if asked for. A
        callback cancels the scope, so that no task waits beside each handler."""
        scope = trio.CancelScope()
        cut: Cut = None

        def tell(by: Cut) -> None:
            nonlocal cut
            cut = by
            if by is not None:
                scope.cancel()

        with scope, watched(self._engine, state, tell):
            await self._handler(stream)
        if scope.cancelled_caught:
            log.info("%r: handler cancelled: %s", stream, cut)

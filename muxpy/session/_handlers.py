"""The tasks of `serve_streams`. A task that has handled a stream handles the next one, and takes no pass of Trio's
scheduler for one that is there already: to start a task costs a sixth of all that a short stream costs, and so does a
pass.

A read brings many streams, and most handlers answer without waiting for anything. So two tasks are called for them, not
one for each. The first handles stream after stream for as long as no handler waits. If one does, the second finds that
streams are left, handles the next, and calls a task for each of the others: they begin a pass later than they would
with a task each, and none waits for the handler of another. A handler that has changed its context (contextvars) is the
last one in its task's step, since the next one must not see that.
"""

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

ENOUGH: Final = 2
"""Tasks that are called for streams that come together: one to handle them, and one to see that it does."""

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
        self._variables = list(self._context.items())
        self._waiting: list[StreamState] = []  # few at a time, and an empty deque has 600 bytes
        self._idle: list[trio.lowlevel.Task] = []
        self._living = 0  # tasks, also those that are idle
        self._coming = 0  # tasks that were called and have not run yet; while streams wait, there is one
        self._closed = False

    def start(self, state: StreamState) -> None:
        """Handle this stream."""
        self._waiting.append(state)
        if self._coming < ENOUGH:
            self._call()

    def _call(self) -> None:
        """Have one more task look for streams: one that is idle, or a new one."""
        self._coming += 1
        if self._idle:
            task = self._idle.pop()
            task.context = self._context.copy()  # as for a new task: what an earlier handler has set there is gone
            trio.lowlevel.reschedule(task)
        else:
            self._living += 1
            self._context.run(self._nursery.start_soon, self._run)

    def rest(self) -> None:
        """Let the idle tasks end: no stream has come for a while."""
        while self._idle:
            task = self._idle.pop()
            task.context = self._context.copy()  # a stream may come in this moment, and the task handle that
            trio.lowlevel.reschedule(task)

    def close(self) -> None:
        """No more streams come."""
        self._closed = True
        self.rest()

    async def all_done(self) -> None:
        """Wait until all streams have been handled, after `close`."""
        await self._engine.ending.until(lambda: not self._living)

    async def _run(self) -> None:
        task = trio.lowlevel.current_task()
        waiting = self._waiting

        def leave(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        while self._coming:  # otherwise it was woken to end
            self._coming -= 1
            if not self._coming:
                for _ in range(len(waiting) - 1):  # nobody else runs: the handlers of those who did wait for something
                    self._call()
            while waiting:
                await self._handle(waiting.pop(0))
                if waiting and not self._is_fresh():
                    break
            if self._closed or len(self._idle) >= MOST_IDLE:
                break
            self._idle.append(task)
            await trio.lowlevel.wait_task_rescheduled(leave)
        self._living -= 1  # if it was cancelled, so is whoever waits for that
        if self._closed:
            self._engine.ending.news()

    def _is_fresh(self) -> bool:
        """Whether the context of this task is as that of a new one."""
        mine = copy_context()
        for variable, value in self._variables:
            if mine.get(variable) is not value:  # not `==`, which values may not have
                return False
        return len(mine) == len(self._variables)

    async def _handle(self, state: StreamState) -> None:
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

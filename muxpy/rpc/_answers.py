"""The answering end of a shared stream: small calls, and the tasks that carry them out, kept for the next ones."""

from __future__ import annotations

from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from muxpy import ErrorCode, SessionClosed, StreamReset

from ._bucket import Bucket
from ._errors import Code, DeadlineExceeded, Error, Unavailable, Unimplemented
from ._handling import CODINGS, error_body
from ._outlet import MANY, Outlet
from ._wire import IN_JSON, INITIAL_CREDIT, MAX_SMALL, Kind, Messages, TooLarge, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy import Stream

    from ._handling import Handling, Outcome

__all__ = ["MAX_CALLS", "SharedAnswers"]

MAX_CALLS: Final = 1024
"""Calls of one caller that may be without an answer on a shared stream. Each is a task, and up to 4 KiB of request, or
an answer of up to 4 KiB that the caller has yet to read."""

MOST_IDLE: Final = INITIAL_CREDIT
"""Tasks that are kept for the next calls; each takes some two kilobytes. To start one for each call would be a fifth of
what the call costs."""

CANCELS: Final = 2048
CANCELS_PER_SECOND: Final = 1024
"""So many calls may be cancelled at once, and so many more each second: each has started a handler for nothing. The
stream is read only as fast as that, so that those who cancel more wait, and other sessions do not."""


class _Running:
    """A call that is being carried out."""

    __slots__ = ("body", "call_id", "cancelled", "deadline", "flag", "scope")

    def __init__(self, call_id: int, flag: int, body: bytes) -> None:
        self.call_id = call_id
        self.flag = flag
        self.body = body
        self.cancelled = False
        self.deadline = inf
        self.scope: trio.CancelScope | None = None  # of its task, as soon as that runs


class _Worker:
    """A task that carries out one call after another, and waits among the idle ones in between."""

    __slots__ = ("_idle", "next", "task")

    def __init__(self, idle: list[_Worker]) -> None:
        self.task = trio.lowlevel.current_task()
        self.next: _Running | None = None
        """What it was woken for."""
        self._idle = idle

    async def wait(self) -> _Running | None:
        """Wait for the next call; None if this task is not needed any more."""
        self._idle.append(self)
        await trio.lowlevel.wait_task_rescheduled(self._leave)
        running, self.next = self.next, None
        return running

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED


class SharedAnswers:
    """A shared stream that the other side has opened.

    A task has one cancel scope for call after call, until one of them is cancelled: a scope for each call would be a
    tenth of what the call costs. Deadlines are in Trio's heap, and a call without one adds nothing to that.
    """

    def __init__(
        self,
        stream: Stream,
        handling: Handling,
        elsewhere: trio.Semaphore,
        send_elsewhere: Callable[[bytes, Callable[[], None]], Awaitable[bool]],
    ) -> None:
        self._stream = stream
        self._handling = handling
        self._elsewhere = elsewhere
        self._send_elsewhere = send_elsewhere
        self._running: dict[int, _Running] = {}
        self._context = copy_context()
        self._idle: list[_Worker] = []
        self._cancels = Bucket(CANCELS, CANCELS_PER_SECOND)
        self._large = 0  # answers that are being sent on streams of their own
        self._retired = False
        self._nursery: trio.Nursery
        self._outlet: Outlet

    async def run(self) -> None:
        """Answer calls until the caller has ended its direction, and all that have begun are answered."""
        async with trio.open_nursery() as self._nursery:
            self._outlet = Outlet(self._stream, self._nursery.start_soon)
            self._outlet.send(pack(Kind.CREDIT, MAX_CALLS - INITIAL_CREDIT))
            try:
                await self._read()
                self.retire()
            except (TooLarge, ValueError):
                self._stream.reset(ErrorCode.PROTOCOL_ERROR)
                self._nursery.cancel_scope.cancel()
            except (StreamReset, SessionClosed):
                self._nursery.cancel_scope.cancel()
            finally:
                self._retired = True  # if it was cut short, a later `retire` has nothing to do

    def retire(self) -> None:
        """Begin no more calls, and end the stream when those are answered that have begun."""
        if not self._retired:
            self._retired = True
            while self._idle:
                trio.lowlevel.reschedule(self._idle.pop().task)
            self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._running and not self._large:
            self._outlet.end()

    # ---- what comes ----

    async def _read(self) -> None:
        messages = Messages(MAX_SMALL)
        while data := await self._stream.receive_some():
            come = messages.feed(data)
            for kind, call_id, body in come:
                if kind == Kind.CANCEL:
                    self._cancel(call_id)
                    await self._cancels.take()
                else:
                    self._on_call(kind, call_id, body)
            if messages.too_large is not None:
                raise messages.too_large
            if len(come) >= MANY:
                await self._outlet.gather()

    def _on_call(self, kind: int, call_id: int, body: bytes) -> None:
        """Raises ValueError for what the caller may not send."""
        flag = kind & IN_JSON
        unanswered = len(self._running) + self._outlet.waiting
        if kind ^ flag != Kind.CALL or call_id in self._running or unanswered > MAX_CALLS:
            raise ValueError(f"kind {kind}, call {call_id}")
        if self._retired:
            self._fail(call_id, flag, Unavailable("the other side goes away"), retryable=True)
            return
        running = self._running[call_id] = _Running(call_id, flag, body)
        if self._idle:
            worker = self._idle.pop()
            worker.next = running
            worker.task.context = self._context.copy()  # as for a new task: what an earlier handler has set is gone
            trio.lowlevel.reschedule(worker.task)
        else:
            self._nursery.start_soon(self._work, running)

    def _cancel(self, call_id: int) -> None:
        running = self._running.get(call_id)
        if running is not None:  # otherwise its answer is on its way
            running.cancelled = True
            if running.scope is not None:
                running.scope.cancel()

    # ---- carrying out ----

    async def _work(self, first: _Running) -> None:
        """Carry out one call after another."""
        worker = _Worker(self._idle)
        running: _Running | None = first
        while running is not None:
            with trio.CancelScope() as scope:
                while running is not None:
                    await self._carry_out(running, scope)
                    running = None if self._enough else await worker.wait()
            if scope.cancelled_caught:  # this call, or the last one in its last moment
                running = None if self._enough else await worker.wait()

    @property
    def _enough(self) -> bool:
        """Whether a task that is done is not needed any more."""
        return self._retired or len(self._idle) >= MOST_IDLE

    async def _carry_out(self, running: _Running, scope: trio.CancelScope) -> None:
        running.scope = scope
        if running.cancelled:
            scope.cancel()
        try:
            kind, body = await self._outcome(running, scope)
            if len(body) > MAX_SMALL:
                await self._answer_elsewhere(running, kind, body)
            else:
                del self._running[running.call_id]
                self._outlet.send(pack(kind, running.call_id, body))
        finally:
            if self._running.get(running.call_id) is running:
                self._cut_short(running)
            if running.deadline != inf:
                scope.deadline = inf
            if self._retired:
                self._end_if_done()

    def _cut_short(self, running: _Running) -> None:
        del self._running[running.call_id]
        if running.cancelled:
            self._fail(running.call_id, running.flag, Error("the caller gave up", code=Code.CANCELLED))
        elif trio.current_time() >= running.deadline:
            self._fail(running.call_id, running.flag, DeadlineExceeded())
        # Otherwise this side ends, and its caller learns by the stream that the call is cut off.

    async def _outcome(self, running: _Running, scope: trio.CancelScope) -> Outcome:
        try:
            begun = self._handling.begin(running.body, running.flag)
            if not begun.method.unary:
                raise Unimplemented(f"{begun.method.name} takes or gives many values: call it on a stream of its own")
        except Error as error:
            return Kind.ERROR, error_body(error, CODINGS[running.flag])
        running.body = b""
        if begun.call.deadline != inf:
            scope.deadline = running.deadline = begun.call.deadline
        try:
            return await self._handling.result(begun)
        except Exception as error:
            return self._handling.failure(error, begun)

    async def _answer_elsewhere(self, running: _Running, kind: int, body: bytes) -> None:
        message = pack(kind, running.call_id, body)

        def tell() -> None:
            if self._take(running):  # it is told once, though a stream may be refused
                self._outlet.send(pack(Kind.ELSEWHERE, running.call_id))

        async with self._elsewhere:
            self._large += 1
            try:
                sent = await self._send_elsewhere(message, tell)
            finally:
                self._large -= 1
        if not sent and self._take(running):
            self._outlet.send(message)

    def _take(self, running: _Running) -> bool:
        """Take it from those that run. False if it was taken before: its caller may have given its id to another call
        by now, as soon as it knew of the answer, while the task of this one was still sending that elsewhere."""
        if self._running.get(running.call_id) is not running:
            return False
        del self._running[running.call_id]
        return True

    def _fail(self, call_id: int, flag: int, error: Error, *, retryable: bool = False) -> None:
        self._outlet.send(pack(Kind.ERROR, call_id, error_body(error, CODINGS[flag], retryable=retryable)))

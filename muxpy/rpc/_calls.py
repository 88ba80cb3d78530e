"""The calling end of a shared stream: small calls, each with an id, and their answers in any order.

Theory of operation: nobody is there only to read. A task that waits for its answer reads the stream, for itself and for
all others (leader and followers), so that one caller alone waits for the stream and for nothing in between. When it
leaves, with its answer or cancelled, another one that waits goes on reading. After a read that has brought many
answers, whoever reads next lets those callers run first, and sends together what calls they make now. If only calls are
left whose callers have given up, a task of the session reads until their answers have come: each answer gives back one
of the places that the other side has for calls, and a call that nobody waits for keeps its place until its handler has
ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from muxpy import ErrorCode, SessionClosed, StreamReset

from ._errors import Error, Unavailable
from ._outlet import MANY, Outlet
from ._wire import INITIAL_CREDIT, MAX_MESSAGE, Kind, Messages, TooLarge, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxpy import Session, Stream

    from ._wire import Message

__all__ = ["Calls"]

ANSWERS: Final = frozenset((Kind.RESULT, Kind.ERROR, Kind.ELSEWHERE))


class _Pending:
    """A call without an answer."""

    __slots__ = ("abandoned", "answer", "elsewhere", "task")

    def __init__(self) -> None:
        self.answer: Message | Error | None = None  # or why there is none
        self.task: trio.lowlevel.Task | None = None  # waits, and does not read
        self.elsewhere = False  # the answer comes on a stream of its own
        self.abandoned = False

    def wake(self) -> None:
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task)

    def give_up(self, _: object) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Calls:
    """The calls on one shared stream, which belongs to this object."""

    def __init__(self, session: Session, stream: Stream, ids: Iterator[int]) -> None:
        self._session = session
        self._stream = stream
        self._ids = ids
        self._outlet = Outlet(stream, session.start_soon)
        self._messages = Messages(MAX_MESSAGE)  # large answers come here too, where their side opens no streams
        self._pending: dict[int, _Pending] = {}
        self._credit = INITIAL_CREDIT
        self._creditless = trio.lowlevel.ParkingLot()
        self._reading = False
        self._heir: _Pending | None = None  # was woken to read, and has not run yet
        self._retiring = False
        self._over: Error | None = None

    @property
    def over(self) -> bool:
        """Whether no more calls can be made here."""
        return self._over is not None or self._retiring

    @property
    def waiting(self) -> int:
        """The calls without an answer."""
        return len(self._pending)

    async def call(self, kind: int, body: bytes) -> Message:
        """Make a call and wait for its answer, as a RESULT or an ERROR.

        Raises Unavailable if the stream or the session ends before that.
        """
        if self._credit and not self.over:
            self._credit -= 1
        else:
            await self._wait_for_credit()
        while (call_id := next(self._ids)) in self._pending:
            pass  # they begin again after 2^32
        pending = self._pending[call_id] = _Pending()
        self._outlet.send(pack(kind, call_id, body))
        try:
            while pending.answer is None:
                if self._reading or pending.elsewhere:
                    await self._follow(pending)
                else:
                    await self._read()
        except BaseException:
            self._abandon(call_id, pending)
            raise
        finally:
            if not self._reading and self._heir is None and self._pending:
                self._hand_over()
        if isinstance(pending.answer, Error):
            raise pending.answer
        return pending.answer

    def answer(self, call_id: int, message: Message) -> bool:
        """A large answer has come, on a stream of its own. Returns whether somebody waits for it."""
        pending = self._answered_elsewhere(call_id)
        if pending is not None:
            pending.answer = message
            pending.wake()
        return pending is not None

    def fail(self, call_id: int, error: Error) -> None:
        """A large answer has begun, and does not come."""
        pending = self._answered_elsewhere(call_id)
        if pending is not None:
            pending.answer = error
            pending.wake()

    def _answered_elsewhere(self, call_id: int) -> _Pending | None:
        pending = self._pending.get(call_id)
        if pending is None or pending.abandoned:
            return None
        if pending.elsewhere:
            self._forget(call_id)
        else:  # the word that it comes elsewhere is still on its way, and gives back the credit
            pending.abandoned = True
        return pending

    def _forget(self, call_id: int) -> None:
        del self._pending[call_id]
        if self._retiring and not self._pending:
            self._outlet.end()

    def retire(self) -> None:
        """Begin no more calls, and end the stream when the last one has its answer."""
        self._retiring = True
        self._creditless.unpark_all()
        if not self._pending:
            self._outlet.end()
            self._end(None)

    def end(self, error: SessionClosed | trio.BusyResourceError) -> None:
        """The session has ended, in order or not: what has no answer yet may have been carried out."""
        self._end(error)

    # ---- waiting ----

    async def _wait_for_credit(self) -> None:
        if not self.over:
            await self._creditless.park()  # whoever ends this has passed on a credit
        if self.over:
            raise Unavailable("the other side takes no more calls on this session", retryable=True)

    def _give_credit(self, count: int) -> None:
        if self._creditless:
            count -= len(self._creditless.unpark(count=count))
        self._credit += count

    async def _follow(self, pending: _Pending) -> None:
        """Wait until another task has read the answer, or has handed over the reading."""
        if not self._reading and self._heir is None:
            self._hand_over()
        pending.task = trio.lowlevel.current_task()
        try:
            await trio.lowlevel.wait_task_rescheduled(pending.give_up)
        finally:
            if self._heir is pending:
                self._heir = None

    async def _read(self) -> None:
        """Read once, and give everybody what has come."""
        self._reading = True
        try:
            if self._outlet.held:
                await self._outlet.gather()
            self._receive(await self._stream.receive_some())
        except (StreamReset, SessionClosed, trio.ClosedResourceError) as error:
            self._end(error)
        finally:
            self._reading = False

    def _hand_over(self) -> None:
        """Nobody reads any more."""
        for pending in self._pending.values():
            if pending.task is not None and not pending.elsewhere:
                self._heir = pending
                pending.wake()
                return
        self._reading = True
        self._session.start_soon(self._read_rest)

    async def _read_rest(self) -> None:
        while self._pending:
            await self._read()
            self._reading = True
        self._reading = False

    def _abandon(self, call_id: int, pending: _Pending) -> None:
        if pending.answer is not None:
            return
        pending.abandoned = True
        if pending.elsewhere:
            self._forget(call_id)
        else:
            self._outlet.send(pack(Kind.CANCEL, call_id))

    # ---- what comes ----

    def _receive(self, data: bytes) -> None:
        if not data:
            self._outlet.end()
            self._end(None)
            return
        try:
            come = self._messages.feed(data)
            for message in come:
                self._on_message(message)
            if self._messages.too_large is not None:
                raise self._messages.too_large
            if len(come) >= MANY:
                self._outlet.hold()  # their callers may make more calls, and whoever reads next sends these
        except (TooLarge, KeyError):
            self._stream.reset(ErrorCode.PROTOCOL_ERROR)
            self._end(trio.BrokenResourceError("the other side broke a rule of the calls' protocol"))

    def _on_message(self, message: Message) -> None:
        """Raises KeyError for what cannot be."""
        kind, call_id, _ = message
        if kind == Kind.CREDIT:
            self._give_credit(call_id)
            return
        pending = self._pending[call_id]
        if kind not in ANSWERS or pending.elsewhere:
            raise KeyError(kind)
        self._give_credit(1)
        if kind == Kind.ELSEWHERE and not pending.abandoned:
            pending.elsewhere = True
            return
        self._forget(call_id)
        if not pending.abandoned:
            pending.answer = message
            pending.wake()

    def _end(self, error: Exception | None) -> None:
        """No more answers come. If the other side has ended the stream in order, or refused it, it has begun nothing of
        what it has not answered."""
        unbegun = error is None or (isinstance(error, StreamReset) and error.retryable)
        if self._over is None:
            self._over = Unavailable(str(error or "the other side takes no more calls"), retryable=unbegun)
            self._over.__cause__ = error
        pendings = list(self._pending.values())
        self._pending.clear()
        for pending in pendings:
            pending.answer = Unavailable(self._over.message, retryable=unbegun and not pending.elsewhere)
            pending.answer.__cause__ = error
            pending.wake()
        self._creditless.unpark_all()

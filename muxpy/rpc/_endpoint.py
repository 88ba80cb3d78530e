"""One end of a session, for calls in both directions: which stream is for what, and what goes over which stream."""

from __future__ import annotations

from contextlib import closing
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakValueDictionary

import trio

from muxpy import ErrorCode, SessionClosed, StreamReset

from ._alone import CUT, answer_alone, open_call, unavailable
from ._answers import SharedAnswers
from ._calls import Calls
from ._errors import Error, Unavailable
from ._handling import Handling
from ._raw import RawStreams
from ._reading import Budget, MessageReader
from ._wire import MAX_ID, MAX_SMALL, StreamType, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy import Session, SessionEnd, Stream

    from ._wire import Message

__all__ = ["Endpoint", "endpoint_of"]

LARGE_ANSWERS: Final = 64
"""Large answers to small calls that are sent at the same time. Handlers beyond that wait with theirs."""

MAX_SHARED: Final = 4
"""Shared streams of the other side. One at a time is enough; the next may come before the last one has ended."""


class Endpoint:
    """The calls of one session, at this end. It takes all streams of the session, as `Session.serve_streams` does."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.budget = Budget()
        self.raw = RawStreams()
        """The other side's streams that are arguments and results."""
        self.handling = Handling(session, self.raw.take)
        self.served = trio.Event()
        """No more calls of the other side come, and all are answered."""
        self.error: SessionClosed | trio.BusyResourceError | None = None
        """The session has ended with an error, or something else takes its streams."""
        self.alone = 0
        """Calls of this end that go on streams of their own."""
        self._ids = chain.from_iterable(repeat(range(1, MAX_ID + 1)))
        self._opening = trio.Lock()
        self._calls: Calls | None = None
        self._shared: set[SharedAnswers] = set()
        self._elsewhere = trio.Semaphore(LARGE_ANSWERS)
        if session.end is None:
            session.start_soon(self._run)
        else:
            self.error = SessionClosed(session.end)
            self.served.set()

    @property
    def waiting(self) -> int:
        """The calls of this end that have no answer yet."""
        return self.alone + (self._calls.waiting if self._calls is not None else 0)

    # ---- calling ----

    def call(self, kind: int, body: bytes, priority: int) -> Awaitable[Message]:
        """Make a call that has one answer, and wait for that: a RESULT or an ERROR. Raises Unavailable."""
        if priority or len(body) > MAX_SMALL:
            return self._call_alone(kind, body, priority)
        calls = self._calls
        return self._call_first(kind, body) if calls is None or calls.over else calls.call(kind, body)

    async def _call_first(self, kind: int, body: bytes) -> Message:
        calls = await self._open_calls()
        return await calls.call(kind, body)

    async def _call_alone(self, kind: int, body: bytes, priority: int) -> Message:
        self.alone += 1
        try:
            stream = await open_call(self.session, priority, pack(kind, 0, body), last=True)
            return await self.answer_on(stream)
        finally:
            self.alone -= 1

    async def answer_on(self, stream: Stream) -> Message:
        """Wait for the one answer that comes on a call's own stream, and end that. Raises Unavailable."""
        try:
            with closing(MessageReader(stream, self.budget)) as reader:
                answer = await reader.next()
        except CUT as error:
            raise unavailable(error) from error
        finally:
            stream.reset()  # no effect if both directions have ended
        if answer is None:
            raise Unavailable("the other side has ended the call without an answer")
        return answer

    async def _open_calls(self) -> Calls:
        async with self._opening:
            if self._calls is None or self._calls.over:
                if isinstance(self.error, trio.BusyResourceError):
                    raise self.error
                if self.session.going_away:
                    raise Unavailable("the session goes away", retryable=True)
                try:
                    stream = await self.session.open_stream(stream_type=StreamType.SHARED)
                except SessionClosed as error:
                    raise Unavailable(str(error), retryable=True) from error
                self._calls = Calls(self.session, stream, self._ids)
            return self._calls

    # ---- what runs ----

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._retire_answers)
                nursery.start_soon(self._retire_calls)
                try:
                    await self.session.serve_streams(self._on_stream, cancel_handlers=True)
                except SessionClosed as error:
                    self.error = error.with_traceback(None)  # whose frames have this object: a circle
                self.served.set()
                await trio.sleep_forever()  # until the session has ended
        except* trio.BusyResourceError as busy:
            self.error = trio.BusyResourceError("serve_streams runs on this session, and calls need all its streams")
            self.error.__cause__ = busy
        finally:
            self.served.set()
            if self._calls is not None:
                self._calls.end(self.error or SessionClosed(cast("SessionEnd", self.session.end)))

    async def _retire_answers(self) -> None:
        await self.session.wait_closing()
        for shared in self._shared:
            shared.retire()

    async def _retire_calls(self) -> None:
        await self.session.wait_going_away()
        if self._calls is not None:
            self._calls.retire()

    async def _on_stream(self, stream: Stream) -> None:
        match stream.stream_type:
            case StreamType.SHARED:
                await self._answer_shared(stream)
            case StreamType.CALL:
                await answer_alone(stream, self.handling, self.budget)
            case StreamType.ANSWER:
                await self._take_answer(stream)
            case StreamType.RAW:
                await self.raw.keep(stream)
            case _:
                stream.reset(ErrorCode.REFUSED_STREAM)

    async def _answer_shared(self, stream: Stream) -> None:
        if len(self._shared) >= MAX_SHARED:
            stream.reset(ErrorCode.REFUSED_STREAM)
            return
        shared = SharedAnswers(stream, self.handling, self._elsewhere, self._send_elsewhere)
        self._shared.add(shared)
        try:
            await shared.run()
        finally:
            self._shared.discard(shared)

    async def _send_elsewhere(self, message: bytes, tell: Callable[[], None]) -> bool:
        """Send a large answer, and `tell` the caller as soon as there is a stream. While the other side refuses streams
        because it has too many, try again. Returns False if the session goes away: then there are no more streams."""
        pause = 0.01
        while True:
            try:
                stream = await self.session.open_stream(stream_type=StreamType.ANSWER)
            except SessionClosed:
                return False
            tell()
            cut: trio.BrokenResourceError | None
            try:
                await stream.send_all(message, end=True)
                cut = await stream.wait_ended()
            except trio.BrokenResourceError as error:
                cut = error
            finally:
                stream.reset()  # no effect if both directions have ended
            if not isinstance(cut, StreamReset) or not cut.retryable:
                return True  # the caller has it, or has given up, or the session has ended
            await trio.sleep(pause)
            pause = min(2 * pause, 1)

    async def _take_answer(self, stream: Stream) -> None:
        calls = self._calls
        with closing(MessageReader(stream, self.budget)) as reader:
            try:
                answer = await reader.next()
            except (Error, trio.BrokenResourceError) as error:
                if calls is not None and reader.unfinished_id is not None:
                    calls.fail(reader.unfinished_id, error if isinstance(error, Error) else unavailable(error))
                answer = None
        if answer is None or calls is None or not calls.answer(answer[1], answer):
            stream.reset()


# An endpoint refers to its session, so a living one has that id for itself. What keeps it is its task, and its callers.
_endpoints: Final[WeakValueDictionary[int, Endpoint]] = WeakValueDictionary()


def endpoint_of(session: Session) -> Endpoint:
    """The endpoint of a session; there is one."""
    endpoint = _endpoints.get(id(session))
    if endpoint is None:
        endpoint = _endpoints[id(session)] = Endpoint(session)
    return endpoint

"""A call on a stream of its own: large ones, those with a priority, and those with many values. Both ends."""

from __future__ import annotations

from contextlib import aclosing, closing, nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from muxpy import SessionClosed, StreamReset

from ._errors import Code, DeadlineExceeded, Error, InvalidArgument, Unavailable
from ._handling import CODINGS, error_body
from ._items import send_items
from ._reading import MessageReader
from ._wire import IN_JSON, Kind, StreamType, pack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable

    from muxpy import Session, Stream

    from ._handling import Begun, Handling, Outcome
    from ._reading import Budget
    from ._service import Codec

__all__ = ["CUT", "ItemSender", "answer_alone", "open_call", "unavailable"]

T = TypeVar("T")

EARLY: Final = 1.0
"""Seconds for which the items of a caller are read and dropped that has its answer already: it stops as soon as it has
seen that."""


# ---- the calling end ----


async def open_call(session: Session, priority: int, message: bytes, *, last: bool) -> Stream:
    """Begin a call on a stream of its own. `last`: nothing comes after its request. Raises Unavailable."""
    try:
        stream = await session.open_stream(priority, StreamType.CALL)
    except SessionClosed as error:
        raise Unavailable(str(error), retryable=True) from error
    try:
        await stream.send_all(message, end=last)
    except BaseException as error:
        stream.reset()
        if isinstance(error, (StreamReset, SessionClosed)):
            raise unavailable(error) from error
        raise
    return stream


CUT: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What operations on the stream of a call raise when that was cut short, by either side."""


def unavailable(error: Exception) -> Unavailable:
    """The stream of a call was cut short: what its caller gets."""
    return Unavailable(str(error), retryable=isinstance(error, StreamReset | SessionClosed) and error.retryable)


class ItemSender(Generic[T]):
    """Sends the values that a call takes, beside whatever the caller does meanwhile: as a task of the session, since an
    iterator that the caller holds has no nursery of its own. It closes the iterator that they come from."""

    def __init__(self, session: Session, stream: Stream, items: AsyncIterable[T], encode: Callable[[T], bytes]) -> None:
        self.error: BaseException | None = None
        """What the iterator has raised; the call is over by that."""
        self._stream = stream
        self._items = items
        self._encode = encode
        self._scope = trio.CancelScope()
        self._begun = False  # a session that ends in this moment starts no task
        self._done = trio.Event()
        session.start_soon(self._run)

    async def _run(self) -> None:
        self._begun = True
        try:
            with self._scope:
                await send_items(self._stream, self._items, self._encode)
                await self._stream.send_all(pack(Kind.END, 0), end=True)
        except CUT:
            pass  # whoever waits for the answer learns why
        except Exception as error:
            self.error = error
            self._stream.reset()
        finally:
            self._done.set()

    def cancel(self) -> None:
        """Send no more."""
        self._scope.cancel()

    async def stopped(self) -> None:
        """Send no more, and wait until the iterator is left alone."""
        self._scope.cancel()
        if self._begun:
            with trio.CancelScope(shield=True):
                await self._done.wait()


# ---- the answering end ----


async def answer_alone(stream: Stream, handling: Handling, budget: Budget) -> None:
    """Answer the call of a stream. It is cancelled when the caller resets that."""
    with closing(MessageReader(stream, budget)) as reader:
        flag = 0
        outcome: Outcome
        try:
            request = await reader.next()
            if request is None:
                return
            kind, _, body = request
            flag = kind & IN_JSON
            if kind ^ flag != Kind.CALL:
                raise InvalidArgument("a stream for a call begins with the call")
            begun = handling.begin(body, flag)
        except Error as error:
            outcome = Kind.ERROR, error_body(error, CODINGS[flag])
        else:
            items = _items(reader, begun.codec) if begun.method.takes_items is not None else None
            async with aclosing(items) if items is not None else nullcontext():
                with trio.CancelScope(deadline=begun.call.deadline) as limit:
                    outcome = await _carry_out(stream, handling, begun, items)
            if limit.cancelled_caught:
                outcome = Kind.ERROR, error_body(DeadlineExceeded(), begun.codec.coding)
    kind, body = outcome
    await stream.send_all(pack(kind, 0, body), end=True)
    with trio.move_on_after(EARLY):
        async for _ in stream:
            pass


async def _carry_out(stream: Stream, handling: Handling, begun: Begun, items: AsyncIterator[object] | None) -> Outcome:
    try:
        if not begun.method.gives_items:
            return await handling.result(begun, items)
        async with handling.results(begun, items) as results:
            await send_items(stream, results, begun.codec.encode_result)
    except Exception as error:
        if isinstance(error, SessionClosed) or (isinstance(error, StreamReset) and error.stream_id == stream.id):
            raise  # nobody is there who could be told
        return handling.failure(error, begun)
    return Kind.END, b""


async def _items(reader: MessageReader, codec: Codec) -> AsyncGenerator[Any, None]:
    """The values that a call takes, as they come."""
    while True:
        try:
            message = await reader.next()
        except (StreamReset, SessionClosed):
            raise
        except trio.BrokenResourceError:  # the stream has ended in the middle of an item
            message = None
        if message is None:
            raise Error("the caller has broken off", code=Code.CANCELLED)
        kind, _, body = message
        if kind == Kind.END:
            return
        if kind != Kind.ITEM:
            raise InvalidArgument(f"a message of kind {kind} among the items")
        try:
            item = codec.decode_item(body)
        except Exception as error:  # the types are the service's: they may have code of their own
            raise InvalidArgument(f"one of the items: {error}") from None
        yield item

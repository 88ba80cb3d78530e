"""The values of a call out on its stream: together as far as they come without a wait in between, and at once when the
next one is waited for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from ._wire import MAX_SMALL, Kind, pack

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Generator

    from muxpy import Stream

__all__ = ["send_items"]

T = TypeVar("T")

MOST: Final = 64
LONGEST: Final = 0.001
"""Values that go together, and seconds that they may take: then other tasks have their turn."""


async def send_items(stream: Stream, items: AsyncIterable[object], encode: Callable[[object], bytes]) -> None:
    """Send all values, and close the iterator that they come from. Raises what that raises, once the values before it
    are sent, and the exceptions of `Stream.send_all`."""
    failure = None
    async with trio.open_nursery() as nursery:
        line = _Line(stream, nursery)
        try:
            async with _closing(items):
                iterator = aiter(items)
                while True:
                    item = await _noticed(anext(iterator), line.flush)
                    await line.put(pack(Kind.ITEM, 0, encode(item)))
        except StopAsyncIteration:
            pass
        except Exception as error:
            failure = error  # raised below, not as a group
    await line.send()
    if failure is not None:
        raise failure


def _closing(items: AsyncIterable[object]) -> AbstractAsyncContextManager[AsyncIterable[object]]:
    """A generator that is left before its end is closed, rather than left to the garbage collector."""
    return aclosing(items) if isinstance(items, AsyncGenerator) else nullcontext(items)


@coroutine
def _noticed(waiting: Awaitable[T], on_wait: Callable[[], None]) -> Generator[Any, Any, T]:
    """Await it, and call `on_wait` before the task suspends itself, if it does."""
    steps = waiting.__await__()
    try:
        trap = next(steps)
        on_wait()
        while True:
            try:
                sent = yield trap
            except BaseException as error:
                trap = steps.throw(error)
            else:
                trap = steps.send(sent)
    except StopIteration as done:
        value: T = done.value
        return value


class _Line:
    """Messages that wait to go together."""

    def __init__(self, stream: Stream, nursery: trio.Nursery) -> None:
        self._stream = stream
        self._nursery = nursery
        self._messages: list[bytes] = []
        self._size = 0
        self._due = 0.0
        self._sent: trio.Event | None = None  # another task sends, since this one waits for something else

    async def put(self, message: bytes) -> None:
        """Add a message. If there are enough, send them, and wait until the stream has taken them."""
        if self._messages and self._size + len(message) > MAX_SMALL:
            await self.send()
        now = trio.current_time()
        if not self._messages:
            self._due = now + LONGEST
        self._messages.append(message)
        self._size += len(message)
        if self._size > MAX_SMALL or len(self._messages) >= MOST or now >= self._due:
            await self.send()

    async def send(self) -> None:
        """Send what there is, and wait until the stream has taken it."""
        while self._sent is not None:
            await self._sent.wait()
        if self._messages:
            await self._stream.send_all(self._taken())

    def flush(self) -> None:
        """Send what there is without waiting for it."""
        if self._messages and self._sent is None:
            try:
                self._stream.send_nowait(b"".join(self._messages))
                self._taken()
            except trio.WouldBlock:
                self._sent = trio.Event()
                self._nursery.start_soon(self._send_all, self._sent)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the next one to send gets it too

    async def _send_all(self, sent: trio.Event) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while self._messages:
                await self._stream.send_all(self._taken())
        self._sent = None
        sent.set()

    def _taken(self) -> bytes:
        data = b"".join(self._messages)
        self._messages.clear()
        self._size = 0
        return data

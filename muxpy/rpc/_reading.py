"""Messages in from a stream that a call has for itself, or that brings a large answer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ._errors import Code, Error
from ._wire import MAX_MESSAGE, Messages

if TYPE_CHECKING:
    from muxpy import Stream

    from ._wire import Message

__all__ = ["Budget", "MessageReader"]

MAX_UNFINISHED: Final = 64 << 20
"""Bytes of messages of one session that have begun and not ended: many streams may each bring a large one."""


class Budget:
    """Bytes that the other side can make this side keep."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_UNFINISHED

    def take(self, count: int) -> None:
        """Keep `count` bytes more, or less. Raises Error if there is no room."""
        if count > self._left:
            raise Error("too many large messages at the same time", code=Code.RESOURCE_EXHAUSTED)
        self._left -= count


class MessageReader:
    """Reads the messages of one stream. Until it is closed, what it keeps counts against `budget`."""

    __slots__ = ("_budget", "_kept", "_messages", "_ready", "_stream")

    def __init__(self, stream: Stream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._messages = Messages(MAX_MESSAGE)
        self._ready: deque[Message] = deque()
        self._kept = 0

    def close(self) -> None:
        """Read no more."""
        self._budget.take(-self._kept)
        self._kept = 0

    @property
    def unfinished_id(self) -> int | None:
        """The id of the message that has begun, as soon as its header is there."""
        return self._messages.unfinished_id

    def next_nowait(self) -> Message | None:
        """The next message, if it is there."""
        return self._ready.popleft() if self._ready else None

    async def next(self) -> Message | None:
        """Wait for the next message; None after the last one.

        Raises Error for one that is too large, trio.BrokenResourceError if the stream ends within one, and the
        exceptions of `Stream.receive_some`.
        """
        while not self._ready:
            if self._messages.too_large is not None:
                raise Error(str(self._messages.too_large), code=Code.RESOURCE_EXHAUSTED)
            data = await self._stream.receive_some()
            if not data:
                if self._messages.unfinished:
                    raise trio.BrokenResourceError("the stream ended in the middle of a message")
                return None
            self._ready.extend(self._messages.feed(data))
            kept = self._messages.unfinished
            if kept != self._kept:
                self._budget.take(kept - self._kept)
                self._kept = kept
        return self._ready.popleft()

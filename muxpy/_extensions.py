"""The extensions of one session: who has which stream type, and the streams that wait for each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from ._codes import ErrorCode
from .frame import MAX_STREAM_TYPE, MIN_EXTENSION_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._session import Session
    from ._stream import Stream
    from .ext import Extension
    from .proto import Connection

__all__ = ["ExtensionSlot", "register"]


def register(extensions: Iterable[Extension]) -> dict[int, ExtensionSlot]:
    """A slot for each extension, by stream type. Raises ValueError for a type that cannot be, or is there twice."""
    slots: dict[int, ExtensionSlot] = {}
    for extension in extensions:
        kind = extension.stream_type
        if not MIN_EXTENSION_TYPE <= kind <= MAX_STREAM_TYPE:
            bounds = f"between {MIN_EXTENSION_TYPE:#x} and {MAX_STREAM_TYPE:#x}"
            raise ValueError(f"an extension's stream_type must lie {bounds}, it is {kind:#x}")
        if kind in slots:
            raise ValueError(f"two extensions have the stream_type {kind:#x}")
        slots[kind] = ExtensionSlot(extension)
    return slots


class ExtensionSlot:
    """An extension and the streams that the peer opened for it.

    A stream keeps its place among those that the peer may open until the extension has taken it, or a peer could
    pile up any number by opening and resetting them.
    """

    def __init__(self, extension: Extension) -> None:
        self.extension = extension
        self._waiting: deque[Stream] = deque()
        self._lot = trio.lowlevel.ParkingLot()
        self._finished = False

    async def run(self, session: Session, core: Connection, check_alive: Callable[[], None]) -> None:
        """Run the extension. Streams that it does not take, then or later, are reset."""

        async def accept() -> Stream:
            await trio.lowlevel.checkpoint()
            while (stream := self._take(core)) is None:
                check_alive()
                await self._lot.park()
            return stream

        try:
            await self.extension.run(session, accept)
        finally:
            self._finished = True
            while (stream := self._take(core)) is not None:
                stream.reset(ErrorCode.STREAM_CLOSED)

    def offer(self, stream: Stream, core: Connection) -> None:
        """The peer has opened a stream of this type."""
        if self._finished:
            core.let_go(stream._state)
            stream.reset(ErrorCode.STREAM_CLOSED)
            return
        self._waiting.append(stream)
        self._lot.unpark()

    def wake(self) -> None:
        """The session has ended."""
        self._lot.unpark_all()

    def _take(self, core: Connection) -> Stream | None:
        while self._waiting:
            stream = self._waiting.popleft()
            core.let_go(stream._state)
            if stream._state.reset_code is None:
                return stream
        return None

"""Streams that the peer opened and that nobody has taken yet: the application's, and each extension's."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from muxpy._codes import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muxpy.proto import Core, StreamState

__all__ = ["Backlog"]


class Backlog:
    """Keeps incoming streams until they are taken, or hands them on immediately while someone serves them.

    The core bounds it. A stream that is reset while it waits keeps its place until it would be taken, or a peer could
    pile up any number by opening and resetting them.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._streams: deque[StreamState] = deque()
        self._takers = trio.lowlevel.ParkingLot()
        self._serve: Callable[[StreamState], None] | None = None
        self._listeners = 0
        self._accepting = 0  # tasks that wait for a stream without a listener
        self._closed_with: int | None = None  # nobody takes any more: the code that says so

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def served(self) -> bool:
        """Whether `serving` takes all streams."""
        return self._serve is not None

    def add(self, state: StreamState) -> None:
        """The peer has opened a stream. Called in the reader, so it must not wait."""
        if self._serve is not None:
            self._core.accepted(state, hold=True)
            self._serve(state)
        elif self._closed_with is not None:
            self._core.accepted(state)
            self._core.reset(state, self._closed_with)
        else:
            self._streams.append(state)
            self._takers.unpark()

    def pop(self, *, hold: bool = False) -> StreamState | None:
        """The oldest stream that was not reset meanwhile; None if there is none. `hold` as for Core.accepted."""
        while self._streams:
            state = self._streams.popleft()
            reset = state.reset_code is not None
            self._core.accepted(state, hold=hold and not reset)
            if not reset:
                return state
        return None

    async def accept(self, check: Callable[[], None]) -> StreamState:
        """Wait for a stream and take it. `check` raises if none can come any more."""
        if self.served:
            raise trio.BusyResourceError("serve_streams takes this session's streams")
        if len(self) > 1:
            # Taking one of many costs no pass through the scheduler; the last one does.
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self:
            await trio.lowlevel.checkpoint()
        # No checkpoint between being woken and taking: a task cancelled there would take the wake-up with it.
        while (state := self.pop()) is None:
            check()
            await self.wait()
        return state

    async def accept_directly(self, check: Callable[[], None]) -> StreamState:
        """`accept`, for those who do it without a listener."""
        self._core.refuse_streams(False)
        self._accepting += 1
        try:
            return await self.accept(check)
        finally:
            self._accepting -= 1

    def add_listener(self) -> None:
        """A listener takes streams."""
        self._listeners += 1
        self._core.refuse_streams(False)

    def drop_listener(self) -> None:
        """A listener was closed. If nobody else takes streams, the peer is told, rather than left to wait."""
        self._listeners -= 1
        if not self._listeners and not self._accepting and not self.served:
            self._core.refuse_streams(True)
            self.refuse_all()

    @contextmanager
    def serving(self, serve: Callable[[StreamState], None]) -> Iterator[None]:
        """Hand streams to `serve`, those that wait and those that come, as long as the block runs."""
        self._core.refuse_streams(False)
        while (state := self.pop(hold=True)) is not None:
            serve(state)
        self._serve = serve
        try:
            yield
        finally:
            self._serve = None

    async def wait(self) -> None:
        """Wait for a stream to take, or for news of the session."""
        await self._takers.park()

    def wake(self) -> None:
        """The session has news for those who wait: it ends, or goes away."""
        self._takers.unpark_all()

    def refuse_all(self, code: int = ErrorCode.REFUSED_STREAM) -> None:
        """Nobody will take these any more; the peer may try them elsewhere."""
        while (state := self.pop()) is not None:
            self._core.reset(state, code)

    def close(self, code: int) -> None:
        """Nobody will take any more, now or later: reset them with `code`."""
        self._closed_with = code
        self.refuse_all(code)

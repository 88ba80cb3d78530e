"""The accept queue: streams that the peer opened and that nobody has accepted yet. The application has one, and each
extension has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from muxpy._codes import ErrorCode

from ._parking import Lot

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import Core, StreamState

    from ._lead import Lead

__all__ = ["Backlog"]


class Server(Protocol):
    """Who takes all streams as they come."""

    def start(self, state: StreamState) -> None:
        """Serve this stream. The reader calls this, so it must not wait."""

    def rest(self) -> None:
        """No stream has come for a while: let go of what is kept for the next ones."""


class Backlog:
    """Keeps incoming streams until they are accepted, or hands them on immediately while `serve` is in force.

    The core bounds their number. A stream that is reset while it waits keeps its place until it would be accepted.
    Otherwise a peer could pile up any number of streams by opening and resetting them.
    """

    def __init__(self, core: Core, lead: Lead) -> None:
        self._core = core
        self._lead = lead
        self._streams: list[StreamState] = []  # at most `accept_backlog`, so taking the first costs next to nothing
        self._takers = Lot()
        self._server: Server | None = None
        self._told: Callable[[], None] | None = None  # called for news while there is a server
        self._listeners = 0
        self._accepting = 0  # tasks that wait for a stream without a listener
        self._closed_with: int | None = None  # nobody accepts streams any more: the code for their reset

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def served(self) -> bool:
        """Whether a server takes all streams."""
        return self._server is not None

    def add(self, state: StreamState) -> None:
        """The peer has opened a stream. The reader calls this, so it must not wait."""
        if self._server is not None:
            self._core.accepted(state, hold=True)
            self._server.start(state)
        elif self._closed_with is not None:
            self._core.accepted(state)
            self._core.reset(state, self._closed_with)
        else:
            self._streams.append(state)
            self._takers.unpark()

    def pop(self, *, hold: bool = False) -> StreamState | None:
        """Take the oldest stream that was not reset meanwhile; None if there is none. `hold` as for `Core.accepted`."""
        while self._streams:
            state = self._streams.pop(0)
            reset = state.reset_code is not None
            self._core.accepted(state, hold=hold and not reset)
            if not reset:
                return state
        return None

    async def accept(self, check: Callable[[], None]) -> StreamState:
        """Wait for a stream and accept it. `check` raises if no stream can come any more."""
        if self.served:
            raise trio.BusyResourceError("serve_streams takes this session's streams")
        if len(self) > 1:
            # Only the last of several waiting streams costs a pass through the scheduler.
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self:
            self._lead.comes_back()
            await trio.lowlevel.checkpoint()
        # There is no checkpoint from the wake-up until the stream is taken: a cancellation there would lose the wake-up
        # for other tasks.
        while (state := self.pop()) is None:
            check()
            if self._lead.free(self):
                await self._lead.take(self, self._is_empty)
            else:
                await self.wait()
        return state

    def _is_empty(self) -> bool:
        return not self._streams

    async def accept_without_listener(self, check: Callable[[], None]) -> StreamState:
        """`accept` for callers without a listener."""
        self._core.refuse_streams(False)
        self._accepting += 1
        try:
            return await self.accept(check)
        finally:
            self._accepting -= 1

    def add_listener(self) -> None:
        """A listener begins to take streams."""
        self._listeners += 1
        self._core.refuse_streams(False)

    def drop_listener(self) -> None:
        """A listener was closed. If nobody else takes streams, they are refused from now on. Otherwise they would wait
        where nobody looks, and their openers with them. Refused, they may be tried elsewhere; and a program that takes
        streams again later, in another way, has lost none."""
        self._listeners -= 1
        if not self._listeners and not self._accepting and not self.served:
            self._core.refuse_streams(True)
            self.refuse_all()

    def serve(self, server: Server, told: Callable[[], None] | None = None) -> None:
        """Hand all streams to `server`, those that wait and those that come, until `end_serving`. `told` is called when
        the session ends, or goes away."""
        self._core.refuse_streams(False)
        while (state := self.pop(hold=True)) is not None:
            server.start(state)
        self._server, self._told = server, told

    def end_serving(self) -> None:
        """Keep what comes from now on."""
        self._server = self._told = None

    def rest(self) -> None:
        """No stream has come for a while."""
        if self._server is not None:
            self._server.rest()

    async def wait(self) -> None:
        """Wait for a stream to take, or for news of the session."""
        await self._takers.park()

    def wake(self) -> None:
        """Wake the tasks that wait: the session ends, or goes away."""
        self._takers.unpark_all()
        self._lead.interrupt(self)
        if self._told is not None:
            self._told()

    def refuse_all(self, code: int = ErrorCode.REFUSED_STREAM) -> None:
        """Reset the streams that wait. With the default code, the peer may retry them elsewhere."""
        while (state := self.pop()) is not None:
            self._core.reset(state, code)

    def close(self, code: int) -> None:
        """Nobody accepts streams any more: reset those that wait and those that come with `code`."""
        self._closed_with = code
        self.refuse_all(code)

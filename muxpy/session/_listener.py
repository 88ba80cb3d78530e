"""A session as a Trio listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ._stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import StreamState
    from muxpy.transport import Address

    from ._engine import Engine
    from ._stream import SessionOfStream

__all__ = ["SessionListener"]


class SessionListener(trio.abc.Listener[Stream]):
    """Accepts the incoming streams of a session. `Session.listener` makes listeners."""

    def __init__(
        self,
        session: SessionOfStream,
        engine: Engine,
        make_stream: Callable[[StreamState], Stream],
        check: Callable[[], None],
    ) -> None:
        self._session = session
        self._engine = engine
        self._make_stream = make_stream
        self._check = check
        self._scopes: set[trio.CancelScope] = set()
        self._closed = False
        engine.backlog.add_listener()

    @property
    def session(self) -> SessionOfStream:
        """The session whose streams it accepts."""
        return self._session

    @property
    def local_address(self) -> Address:
        """The transport's address at this end; None if it has none."""
        return self._session.local_address

    @property
    def remote_address(self) -> Address:
        """The transport's address at the peer's end, where all streams come from; None if it has none."""
        return self._session.remote_address

    async def accept(self) -> Stream:
        """Wait for the next stream. Raises the exceptions of `Session.accept_stream`, and trio.ClosedResourceError if
        the listener is closed."""
        if not self._closed:
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    return self._make_stream(await self._engine.backlog.accept(self._check))
                finally:
                    self._scopes.discard(scope)
        raise trio.ClosedResourceError("this listener was closed")

    async def aclose(self) -> None:
        """Stop accepting; a task that waits in `accept` gets trio.ClosedResourceError. The session goes on.

        From then on the peer's streams are refused (REFUSED_STREAM, safe to retry), and so are those that wait to be
        accepted, until something else takes streams: another listener, `serve_streams` or `accept_stream`.
        """
        if not self._closed:
            self._closed = True
            for scope in self._scopes:
                scope.cancel()
            self._engine.backlog.drop_listener()
            self._engine.acted()
        await trio.lowlevel.checkpoint()

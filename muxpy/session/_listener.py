"""A session where Trio expects a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ._stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.transport import Address

    from ._engine import Engine
    from ._stream import SessionOfStream

__all__ = ["SessionListener"]


class SessionListener(trio.abc.Listener[Stream]):
    """Accepts a session's incoming streams. Made by `Session.listener`."""

    def __init__(self, session: SessionOfStream, engine: Engine, check: Callable[[], None]) -> None:
        self._session = session
        self._engine = engine
        self._check = check
        self._scopes: set[trio.CancelScope] = set()
        self._closed = False
        engine.backlog.add_listener()

    @property
    def session(self) -> SessionOfStream:
        """Whose streams it accepts."""
        return self._session

    @property
    def local_address(self) -> Address:
        """This end's address of the session's transport; None if it has none."""
        return self._session.local_address

    @property
    def remote_address(self) -> Address:
        """The peer's address of the session's transport, from which all streams come; None if it has none."""
        return self._session.remote_address

    async def accept(self) -> Stream:
        """Wait for the next stream. Raises like `Session.accept_stream`, and trio.ClosedResourceError if closed."""
        if not self._closed:
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    state = await self._engine.backlog.accept(self._check)
                    return Stream(self._session, self._engine, state)
                finally:
                    self._scopes.discard(scope)
        raise trio.ClosedResourceError("this listener was closed")

    async def aclose(self) -> None:
        """Stop accepting; a task that waits in `accept` gets trio.ClosedResourceError. The session goes on.

        The peer's streams are refused from then on (REFUSED_STREAM, safe to retry), those that wait among them, until
        something else takes them: another listener, `serve_streams` or `accept_stream`.
        """
        if not self._closed:
            self._closed = True
            for scope in self._scopes:
                scope.cancel()
            self._engine.backlog.drop_listener()
            self._engine.acted()
        await trio.lowlevel.checkpoint()

"""A session where Trio expects a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ._session import Session
    from ._stream import Stream

__all__ = ["SessionListener"]


class SessionListener(trio.abc.Listener["Stream"]):
    """Accepts a session's incoming streams. Closing it stops accepting here; the session goes on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._scopes: set[trio.CancelScope] = set()
        self._closed = False

    async def accept(self) -> Stream:
        """Wait for the next stream. Raises like `Session.accept_stream`, and trio.ClosedResourceError if closed."""
        if not self._closed:
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    return await self.session.accept_stream()
                finally:
                    self._scopes.discard(scope)
        raise trio.ClosedResourceError("this listener was closed")

    async def aclose(self) -> None:
        """Stop accepting; a task that waits in `accept` gets trio.ClosedResourceError."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel()
        await trio.lowlevel.checkpoint()

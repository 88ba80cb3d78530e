"""Extensions: what two sessions do with streams of a type >= MIN_EXTENSION_TYPE, beside the application.

An extension is any object with a `stream_type` and a `run`. It is given to a session when that is opened:
`open_session(..., extensions=[Heartbeat(), Mine()])`. Streams of its type that the peer opens go to it and never
to `accept_stream`; streams of an extension type that no one registered are reset with STREAM_CLOSED.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from muxpy.frame import MIN_EXTENSION_TYPE

from ._heartbeat import Heartbeat, HeartbeatLost

if TYPE_CHECKING:
    from muxpy._session import Session
    from muxpy._stream import Stream

__all__ = ["MIN_EXTENSION_TYPE", "Accept", "Extension", "Heartbeat", "HeartbeatLost"]

Accept = Callable[[], Awaitable["Stream"]]
"""Waits for the next stream of the extension's type that the peer opens; raises SessionClosed at the end."""


class Extension(Protocol):
    """What a session asks of an extension."""

    @property
    def stream_type(self) -> int:
        """The type of its streams, MIN_EXTENSION_TYPE or more."""

    async def run(self, session: Session, accept: Accept) -> None:
        """Runs as a task of the session, is cancelled when the session has ended, and may return early.

        An exception it raises is taken for a bug: it ends the session with INTERNAL_ERROR and comes out of
        `open_session`, or is the cause of the SessionClosed that does.
        """

"""What both ends do with the streams that the other one opens."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import muxpy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["GRACE", "RESET_RATE", "serve_streams", "session_streams", "used_up"]

GRACE: Final = 5.0
"""Seconds that relays have after the end of their session to deliver what had already arrived. Those that only
wait for a socket which never says anything are reset then."""

RESET_RATE: Final = 10_000.0
"""Streams a second that a peer may reset for good, ten times the library's. Peers have logged in; but programs at their
side that abort connections by the thousand, such as load generators and port scanners, are not theirs to choose, and
must not cost everybody else the session."""

ORDINARY_STREAMS: Final = 1024
"""Streams of a session that are always taken: a thousand that come at once are nothing unusual."""

SPARE_STREAMS: Final = 256
"""Streams of a session beyond the connections that a user may have: those that say what is bound, and those that are
told in words that there are too many. Past them a stream is refused without words."""


def session_streams(connections: int) -> int:
    """How many streams of its peer a session takes that may carry so many connections."""
    return max(ORDINARY_STREAMS, connections + SPARE_STREAMS)


LAST_ID: Final = 2**31 - 2
"""From here on an id is its end's last one: this is the server's, and the next one the client's."""


def used_up(stream: muxpy.Stream) -> bool:
    """Whether the end that opened this stream can open no more on its session."""
    return stream.id >= LAST_ID


async def serve_streams(session: muxpy.Session, handler: Callable[[muxpy.Stream], Awaitable[object]]) -> None:
    """`Session.serve_streams`, quiet about how the session ends: that is told by `Session.wait`."""
    with suppress(muxpy.SessionClosed):
        await session.serve_streams(handler)

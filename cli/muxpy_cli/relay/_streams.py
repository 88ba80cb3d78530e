"""The streams of a session, at both ends: how many there may be, and what they have carried."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import muxpy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["GRACE", "RESET_RATE", "Account", "serve_streams", "session_streams", "used_up"]


GRACE: Final = 5.0
"""Seconds that relays have after the end of their session to deliver what had already arrived. Those that only wait
for a silent socket are reset then."""

RESET_RATE: Final = 10_000.0
"""The sustained rate of streams a second that a peer may reset, ten times the library's. Peers have logged in, but they
do not control programs on their side that abort thousands of connections, such as load generators and port scanners,
and these must not cost all others the session."""

ORDINARY_STREAMS: Final = 1024
"""Streams that a session always accepts: a thousand that come together are nothing unusual."""

SPARE_STREAMS: Final = 256
"""Streams of a session beyond a user's connections: those for bound places, and those that are refused with a reason.
Beyond them a stream is refused without one."""


def session_streams(connections: int) -> int:
    """How many streams of its peer a session accepts that may carry this many connections."""
    return max(ORDINARY_STREAMS, connections + SPARE_STREAMS)


LAST_ID: Final = 2**31 - 2
"""An id from here on is the last one of its end: this is the server's, the next one the client's."""


def used_up(stream: muxpy.Stream) -> bool:
    """Whether the end that opened this stream can open no more on its session."""
    return stream.id >= LAST_ID


async def serve_streams(session: muxpy.Session, handler: Callable[[muxpy.Stream], Awaitable[object]]) -> None:
    """`Session.serve_streams`, but it does not raise how the session ended: `Session.wait` says that."""
    with suppress(muxpy.SessionClosed):
        await session.serve_streams(handler)


# ---- what has been carried ----


class Carrying:
    """An open connection. A class and not a generator, which costs more for each connection."""

    __slots__ = ("_account", "_stream")

    def __init__(self, account: Account, stream: muxpy.Stream) -> None:
        self._account = account
        self._stream = stream

    def __enter__(self) -> None:
        self._account.open.add(self._stream)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._account.end(self._stream, kind)


class Account:
    """The connections of one forward, or of one user: open ones by their streams, ended ones as sums."""

    __slots__ = ("_received", "_sent", "cut", "failed", "open", "total")

    def __init__(self) -> None:
        self.open: set[muxpy.Stream] = set()
        self.total = 0
        """Connections accepted so far."""
        self.failed = 0
        """Of those, the ones that reached no target."""
        self.cut = 0
        """Connections that the end of their session has cut off."""
        self._received = 0
        self._sent = 0

    def carrying(self, stream: muxpy.Stream) -> Carrying:
        """Count a connection on its stream during the block."""
        return Carrying(self, stream)

    def end(self, stream: muxpy.Stream, kind: type[BaseException] | None = None) -> None:
        """A connection has ended, perhaps with an exception of this kind."""
        self.open.discard(stream)
        figures = stream.statistics()
        if stream.session.end is not None:
            # Also one whose reader was too slow for the data that had arrived: its relay is cancelled then.
            cancelled = kind is not None and not issubclass(kind, Exception)
            self.cut += cancelled or not figures.finished
        self._received += figures.data_received
        self._sent += figures.data_sent

    def bytes(self) -> tuple[int, int]:
        """Received from streams and sent on them, until now."""
        figures = [stream.statistics() for stream in self.open]
        received = self._received + sum(one.data_received for one in figures)
        return received, self._sent + sum(one.data_sent for one in figures)

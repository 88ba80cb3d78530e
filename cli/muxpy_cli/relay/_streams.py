"""The streams of a session, as both ends see them: how many there may be, and what they have carried."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import muxpy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["GRACE", "RESET_RATE", "Account", "serve_streams", "session_streams", "used_up"]


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


# ---- what has been carried ----


class Carrying:
    """A connection that is open. A class and not a generator: there is one for each connection, and this is cheaper."""

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
        """Connections taken so far."""
        self.failed = 0
        """Of those, the ones that reached no target."""
        self.cut = 0
        """Connections that the end of their session has cut off."""
        self._received = 0
        self._sent = 0

    def carrying(self, stream: muxpy.Stream) -> Carrying:
        """Count a connection on its stream while the block runs."""
        return Carrying(self, stream)

    def end(self, stream: muxpy.Stream, kind: type[BaseException] | None = None) -> None:
        """A connection has ended, with an exception of this kind, if with any."""
        self.open.discard(stream)
        figures = stream.statistics()
        if stream.session.end is not None:
            # Also one whose reader was too slow for what had come: what carries it is cancelled then.
            cancelled = kind is not None and not issubclass(kind, Exception)
            self.cut += cancelled or not figures.finished
        self._received += figures.data_received
        self._sent += figures.data_sent

    def bytes(self) -> tuple[int, int]:
        """Received from streams and sent on them, until now."""
        figures = [stream.statistics() for stream in self.open]
        received = self._received + sum(one.data_received for one in figures)
        return received, self._sent + sum(one.data_sent for one in figures)

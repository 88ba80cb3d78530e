"""What has been carried, for whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import muxpy

__all__ = ["Account"]


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

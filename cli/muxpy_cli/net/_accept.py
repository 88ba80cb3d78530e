"""Accepting the connections that come to bound places."""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from .._errors import is_exhausted
from ..specs import format_address
from ._sockets import inode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


__all__ = ["BACKLOG", "Bound", "Shortage", "peer_of"]

log = logging.getLogger("muxpy_cli.net")

BACKLOG: Final = 4096
"""Connections that may wait to be accepted: a burst of thousands must not be refused. The kernel may allow fewer."""

BURST: Final = 32
"""Connections accepted before other tasks run."""

PAUSE: Final = 0.1
"""Seconds to wait when the process is out of descriptors: some connections may end in that time."""

SKIPPED: Final = {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.EAGAIN,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
}
"""The connection has already gone, or a firewall rule forbids it: accept(2). Linux also passes on what the network has
reported for a waiting connection."""

SHORTAGE_EVERY: Final = 60.0
"""Seconds between lines about a shortage, which lasts until connections end and is met ten times a second."""

OnConnection: TypeAlias = "Callable[[socket.socket, Any], None]"
"""Called with each connection and its address."""


class Shortage:
    """Logs, at most once in SHORTAGE_EVERY, that the system has no resources for more connections."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -math.inf

    def met(self, error: OSError) -> None:
        """A connection could not be accepted for this reason (see `is_exhausted`). It stays in the kernel's queue, and
        its client waits."""
        if self._clock() - self._told_at >= SHORTAGE_EVERY:
            self._told_at = self._clock()
            log.warning("connections wait until others end: %s", _shortage_text(error))


def _shortage_text(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"all file descriptors of this process are used up ({most:,} at most); ulimit -n allows it more, or"
            " LimitNOFILE= in the unit of a service"
        )
    if error.errno == errno.ENFILE:
        return "all file descriptors of this machine are used up (sysctl fs.file-max)"
    return "the system has no memory left for sockets"


_shortage: Final = Shortage()
"""One for all bound places, since they share the descriptors."""


@dataclass(slots=True)
class Bound:
    """Bound sockets, which listen if they are stream sockets: one, or two for a name with two addresses."""

    sockets: list[socket.socket]
    path: str | None = None
    """The path of a Unix socket, which is removed with it."""
    names: list[Any] = field(default_factory=list)
    """The names of the sockets, once they are closed and cannot be asked any more."""
    closed: bool = False
    _taken: OnConnection | None = field(default=None, repr=False)
    """Begins to handle a connection; None while it is not served."""
    _file: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        self._file = inode(self.path) if self.path is not None else None

    @property
    def port(self) -> int:
        """The port; 0 for a Unix socket."""
        return 0 if self.path is not None else int(self._names()[0][1])

    @property
    def hosts(self) -> list[str]:
        """The numeric addresses; none for a Unix socket."""
        return [str(name[0]).partition("%")[0] for name in self._names() if isinstance(name, tuple)]

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return ", ".join(map(format_address, self._names()))

    def _names(self) -> list[Any]:
        return self.names or [one.getsockname() for one in self.sockets]

    def close(self) -> None:
        """Accept no more, and free the place. Its name stays known: the views ask for it while open connections
        finish."""
        if self.closed:  # the path may be another socket's by now, which may even have got the inode
            return
        self.closed = True
        self._taken = None  # it refers to the owner of this object
        if self.path is None:
            self.names = self._names()
        for one in self.sockets:
            one.close()
        if self.path is not None and self._file == inode(self.path):  # otherwise it is somebody else's by now
            with suppress(OSError):
                os.unlink(self.path)

    def finish(self) -> None:
        """Accept the connections that wait in the kernel's queue, then `close`: their clients believe that they are
        connected, and may have sent something."""
        if self._taken is not None and not self.closed:
            for one in self.sockets:
                _accept_waiting(one, self._taken)
        self.close()

    async def serve(self, taken: OnConnection) -> None:
        """Call `taken(connection, address)` for each connection, until cancelled; the sockets are closed then. It only
        begins to handle the connection, and decides what that may cost."""
        self._taken = taken
        try:
            async with trio.open_nursery() as accepting:
                for listener in self.sockets:
                    accepting.start_soon(_accept, listener, taken)
        finally:
            self.close()


async def _accept(listener: socket.socket, taken: OnConnection) -> None:
    while listener.fileno() >= 0:  # otherwise it was closed before the cancellation got here
        await trio.lowlevel.wait_readable(listener)
        for _ in range(BURST):
            try:
                connection, address = listener.accept()
            except OSError as error:
                if is_exhausted(error):
                    _shortage.met(error)
                    await trio.sleep(PAUSE)
                elif error.errno not in SKIPPED and listener.fileno() >= 0:
                    raise
                break
            taken(connection, address)


def _accept_waiting(listener: socket.socket, taken: OnConnection) -> None:
    for _ in range(BACKLOG):  # more may come meanwhile, so there is a limit
        try:
            connection, address = listener.accept()
        except OSError as error:
            if error.errno == errno.EAGAIN or error.errno not in SKIPPED:
                return
        else:
            taken(connection, address)


def peer_of(connection: socket.socket) -> tuple[str, int] | None:
    """The peer's address; None for a Unix socket, and for a peer that has gone."""
    try:
        address = connection.getpeername()
    except OSError:
        return None
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None

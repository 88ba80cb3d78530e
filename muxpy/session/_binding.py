"""Listening on this machine for `Session.bind`: each connection is carried over a stream of its own."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from muxpy._errors import SessionClosed
from muxpy.transport import do_not_pace

from ._beside import tasks_beside
from ._carrying import LOOPBACK, carry, resetting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ._carrying import Carried

__all__ = ["PortOrPath", "bound"]

log = logging.getLogger("muxpy.session")

PortOrPath = TypeVar("PortOrPath", int, str, os.PathLike[str])

MOST_CONNECTIONS: Final = 1024
"""Connections at the same time, as many as a peer takes by default. More wait in the kernel's queue."""

PAUSE: Final = 0.1
"""Seconds to wait when there are no descriptors or no memory for one more: some connections may end in that time."""

EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@asynccontextmanager
async def bound(
    place: PortOrPath,
    open_stream: Callable[[], Awaitable[Carried]],
    wait_going_away: Callable[[], Awaitable[object]],
    patience: float,
) -> AsyncIterator[PortOrPath]:
    """See `Session.bind`. `patience`: seconds that open connections may take at the end of the block."""
    listener = await _listen(place)
    door = _Door(listener, open_stream)
    async with tasks_beside() as connections:
        connections.start_soon(door.serve, connections, wait_going_away)
        yield listener.socket.getsockname()[1] if isinstance(place, int) else place
        door.close()
        connections.cancel_scope.deadline = trio.current_time() + patience


class _Door:
    """A socket that listens, from which connections come in."""

    def __init__(self, listener: trio.SocketListener, open_stream: Callable[[], Awaitable[Carried]]) -> None:
        self._listener = listener
        self._file = _file_of(listener.socket)
        self._open_stream = open_stream
        self._places = trio.Semaphore(MOST_CONNECTIONS)
        self._scope = trio.CancelScope()

    def close(self) -> None:
        """Take no more connections, and free the place."""
        self._scope.cancel()

    async def serve(self, connections: trio.Nursery, wait_going_away: Callable[[], Awaitable[object]]) -> None:
        """Take connections, until this is closed or the session opens no more streams."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._accept, connections)
                    await wait_going_away()
                    self.close()
        finally:
            self._release()

    def _release(self) -> None:
        one = self._listener.socket
        if self._file is not None and self._file == _file_of(one):  # otherwise it is somebody else's by now
            with suppress(OSError):
                os.unlink(one.getsockname())
        one.close()

    async def _accept(self, connections: trio.Nursery) -> None:
        short = False
        while True:
            await self._places.acquire()
            try:
                near = await self._listener.accept()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                if not short:  # and not ten times a second
                    log.warning("connections wait until others end: %s", error)
                short = True
                self._places.release()
                await trio.sleep(PAUSE)
            else:
                short = False
                connections.start_soon(self._carry, near)

    async def _carry(self, near: trio.SocketStream) -> None:
        try:
            with resetting(near):
                await carry(await self._open_stream(), near)
        except SessionClosed as error:  # it came in the last moment: its client learns by the reset
            log.info("a connection has come too late: %s", error)
        finally:
            self._places.release()


async def _listen(place: int | str | os.PathLike[str]) -> trio.SocketListener:
    if isinstance(place, int):
        [listener] = await trio.open_tcp_listeners(place, host=LOOPBACK)
        do_not_pace(listener.socket)  # which its connections inherit
        return listener
    await trio.lowlevel.checkpoint()
    path = os.fspath(place)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            os.unlink(path)
        one.bind(path)
        os.chmod(path, 0o600)  # nobody can connect before it listens
        one.listen(socket.SOMAXCONN)
    except BaseException:
        one.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(one))


def _is_abandoned(path: str) -> bool:
    """Whether there is a Unix socket on which no process listens any more: it was killed."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _file_of(listener: trio.socket.SocketType) -> tuple[int, int] | None:
    """Which file stands at the path of a Unix socket now."""
    if listener.family != socket.AF_UNIX:
        return None
    try:
        status = os.lstat(listener.getsockname())
    except OSError:
        return None
    return status.st_dev, status.st_ino

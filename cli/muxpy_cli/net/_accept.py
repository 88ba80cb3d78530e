"""Binding places and taking the connections that come to them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from .._errors import Failure, describe, is_exhausted
from ..specs import ALL_INTERFACES, UnixPath, family_of, format_address, socket_address
from ._resolve import resolve
from ._shortage import Shortage
from ._sockets import prepare_forwarded
from ._unix import inode, is_abandoned, private_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..specs import Address, Endpoint

__all__ = ["Bound", "bind_datagrams", "bind_streams", "peer_of"]

BACKLOG: Final = 4096
"""Connections that wait to be taken: a burst of thousands must not be refused. The kernel allows what it allows."""

BURST: Final = 32
"""Connections taken before other tasks get their turn."""

PAUSE: Final = 0.1
"""Seconds to wait when the process has no more descriptors: some connections may end meanwhile."""

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
"""The connection has gone already, or a firewall rule did not like it: accept(2). Linux passes on what the network has
reported for a connection that waits, too."""

_shortage: Final = Shortage()
"""Of all places that are bound: they share the descriptors."""

Taken: TypeAlias = "Callable[[socket.socket, Any], None]"
"""What is called for a connection, with its address."""


@dataclass(slots=True)
class Bound:
    """Sockets that are bound, and listen if they are of streams: one, or two for a name with two addresses."""

    sockets: list[socket.socket]
    path: str | None = None
    """Of a Unix socket: the file goes with it."""
    inode: tuple[int, int] | None = field(default=None)
    names: list[Any] = field(default_factory=list)
    """Of the sockets, once they are closed and can be asked no longer."""
    closed: bool = False
    _taken: Taken | None = field(default=None, repr=False)
    """Begins to handle a connection; None while nobody serves."""

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
        """Take no more, and free the place. What it was is told further on: the views ask while open connections are
        let finish."""
        if self.closed:  # the path may be another socket's by now, which may even have got the inode
            return
        self.closed = True
        self._taken = None  # which holds whoever holds this
        if self.path is None:
            self.names = self._names()
        for one in self.sockets:
            one.close()
        if self.path is not None and self.inode == inode(self.path):  # else it is somebody else's by now
            with suppress(OSError):
                os.unlink(self.path)

    def finish(self) -> None:
        """`close`, after the connections have been taken that wait in the kernel's queue: their clients believe that
        they are connected, and may have sent something."""
        if self._taken is not None and not self.closed:
            for one in self.sockets:
                _take_waiting(one, self._taken)
        self.close()

    async def serve(self, handler: Callable[[trio.SocketStream], Awaitable[object]], nursery: trio.Nursery) -> None:
        """Start `handler` in `nursery` for each connection, until cancelled; the sockets are closed then."""
        await self.serve_with(lambda stream: nursery.start_soon(handler, stream))

    async def serve_with(self, start: Callable[[trio.SocketStream], None]) -> None:
        """The same with a function that only begins to handle a connection."""
        await self.take_all(lambda connection, _: start(_stream(connection)))

    async def take_all(self, taken: Taken) -> None:
        """Call `taken(connection, address)` for each connection, until cancelled; the sockets are closed then. For
        those who decide what a connection may cost before there is a task for it."""
        self._taken = taken
        try:
            async with trio.open_nursery() as accepting:
                for listener in self.sockets:
                    accepting.start_soon(_accept, listener, taken)
        finally:
            self.close()


async def _accept(listener: socket.socket, taken: Taken) -> None:
    while listener.fileno() >= 0:  # else it was closed before the cancellation has come here
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


def _take_waiting(listener: socket.socket, taken: Taken) -> None:
    for _ in range(BACKLOG):  # more may come meanwhile, but not for ever
        try:
            connection, address = listener.accept()
        except OSError as error:
            if error.errno == errno.EAGAIN or error.errno not in SKIPPED:
                return
        else:
            taken(connection, address)


def _stream(connection: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(connection))


async def bind_streams(endpoint: Endpoint, *, forwarded: bool = False) -> Bound:
    """Bind and listen; raises Failure with the reason. `forwarded`: its connections will be, and are prepared for
    that; else they are sessions of our own."""
    return await _bind(endpoint, socket.SOCK_STREAM, forwarded=forwarded)


async def bind_datagrams(endpoint: Address) -> Bound:
    """Bind for UDP; raises Failure with the reason."""
    return await _bind(endpoint, socket.SOCK_DGRAM, forwarded=False)


async def _bind(endpoint: Endpoint, kind: socket.SocketKind, *, forwarded: bool) -> Bound:
    try:
        if isinstance(endpoint, UnixPath):
            return _bind_path(endpoint.path)
        return _bind_addresses(await _bind_hosts(endpoint.host), endpoint.port, kind, forwarded=forwarded)
    except (OSError, UnicodeError) as error:
        raise Failure(f"cannot listen on {endpoint}: {_reason(error)}") from error


def _reason(error: OSError | UnicodeError) -> str:
    reason = describe(error)
    if isinstance(error, PermissionError):
        return f"{reason} (ports below 1024 and other users' folders need more rights)"
    return reason


async def _bind_hosts(host: str) -> tuple[str, ...]:
    if host == ALL_INTERFACES:
        return ("0.0.0.0", "::") if socket.has_dualstack_ipv6() else ("0.0.0.0",)
    return tuple(await resolve(host))


def _bind_addresses(hosts: tuple[str, ...], port: int, kind: socket.SocketKind, *, forwarded: bool) -> Bound:
    bound = Bound([])
    try:
        for host in hosts:
            try:
                bound.sockets.append(_bind_one(host, port, kind, forwarded=forwarded))
            except OSError as error:
                # localhost, and all addresses, are meant as far as this machine has them.
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} or host is hosts[0]:
                    raise
                continue
            port = port or bound.port  # the same one for both families
    except BaseException:
        bound.close()
        raise
    return bound


def _bind_one(host: str, port: int, kind: socket.SocketKind, *, forwarded: bool) -> socket.socket:
    family = family_of(host)
    one = socket.socket(family, kind)
    try:
        one.setblocking(False)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if forwarded:
            prepare_forwarded(one)  # before it listens: what the kernel takes inherits it
        one.bind(socket_address(host, port))
        if kind == socket.SOCK_STREAM:
            one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _bind_path(path: str) -> Bound:
    _remove_stale(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        with private_files():
            one.bind(path)
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return Bound([one], path, inode(path))


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more. Anything else stays."""
    with suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and is_abandoned(path):
            os.unlink(path)


def peer_of(stream: trio.SocketStream) -> tuple[str, int] | None:
    """The address of who has connected; None for a Unix socket, and for one that has gone again."""
    return _pair(stream.socket.getpeername)


def _pair(ask: Callable[[], object]) -> tuple[str, int] | None:
    try:
        address = ask()
    except OSError:
        return None
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None

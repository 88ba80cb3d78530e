"""Binding places: addresses and paths."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from .._errors import Failure, describe
from ..specs import ALL_INTERFACES, UnixPath, family_of, socket_address
from ._accept import BACKLOG, Bound
from ._resolve import resolve
from ._sockets import is_abandoned, prepare_forwarded, private_files

if TYPE_CHECKING:
    from ..specs import Address, Endpoint

__all__ = ["bind_datagrams", "bind_streams"]


async def bind_streams(endpoint: Endpoint, *, forwarded: bool = False) -> Bound:
    """Bind and listen; raises Failure with the reason. `forwarded`: its connections will be forwarded, and are prepared
    for that; otherwise they carry sessions."""
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
                # localhost and * mean those addresses that this machine has.
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
            prepare_forwarded(one, host)  # before it listens: what the kernel takes inherits it
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
    return Bound([one], path)


def _remove_stale(path: str) -> None:
    """Remove a socket file that no process listens on any more, and nothing else. Raises OSError for another file,
    which bind(2) would call an address in use."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError("there is a file that is no socket")
    with suppress(OSError):
        if is_abandoned(path):
            os.unlink(path)

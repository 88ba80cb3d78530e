"""Names into addresses."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakValueDictionary

import trio

from ..specs import ALL_INTERFACES, UnixPath, host_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..specs import Endpoint

__all__ = ["Lookups", "is_loopback", "is_numeric", "known_addresses", "lookups_of", "on_loopback", "resolve"]

# Needs no resolver: RFC 6761, section 6.3, fixes what localhost and the names below it mean, and localhost is the
# target of most forwards.
_LOCALHOST: Final = ("127.0.0.1", "::1")

SHARE: Final = 8
"""Parallel lookups of one party: as many as a browser makes while it loads a page."""
THREADS: Final = 256
"""Parallel lookups of all parties together: 32 parties may have only dead names, and the others still wait for nobody.
Most threads are never started, and a waiting one takes some 25 KiB."""

_threads: Final = trio.CapacityLimiter(THREADS)


class Lookups:
    """The lookups of one party, which wait for each other before they could wait for anybody else's.

    getaddrinfo runs in a thread and cannot be cancelled: a lookup that was given up counts until its thread has ended,
    up to half a minute later. It is a limiter of two parts, as Trio's documentation has them.
    """

    def __init__(self) -> None:
        self._share = trio.CapacityLimiter(SHARE)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """What Trio asks for before it starts a thread."""
        await self._share.acquire_on_behalf_of(borrower)
        try:
            await _threads.acquire_on_behalf_of(borrower)
        except BaseException:
            self._share.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        """What Trio says when the thread has ended."""
        _threads.release_on_behalf_of(borrower)
        self._share.release_on_behalf_of(borrower)


_own: Final = Lookups()

# Each lives as long as its party or one of its threads refers to it. A party that connects again while its old lookups
# are under way gets no new share.
_of_users: Final = WeakValueDictionary[str, Lookups]()


def lookups_of(user: str) -> Lookups:
    """Those of a user, over all sessions."""
    if (lookups := _of_users.get(user)) is None:
        lookups = _of_users[user] = Lookups()
    return lookups


def is_loopback(address: str) -> bool:
    """Whether a numeric address is this machine's own. 0.0.0.0 is not: it is every address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


@lru_cache(maxsize=1024)  # asked for each connection
def is_numeric(host: str) -> bool:
    """Whether a host is an address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)  # asked for each connection
def known_addresses(host: str) -> Sequence[str] | None:
    """The numeric addresses of a host that need no lookup: of a number, and of localhost. None: it takes one."""
    if is_numeric(host):
        return (host,)
    if f".{host.lower().removesuffix('.')}".endswith(".localhost"):
        return _LOCALHOST
    return None


async def resolve(host: str, lookups: Lookups = _own) -> Sequence[str]:
    """The numeric addresses of a host, with their zones. Raises OSError if it has none.

    `lookups` is the share of the party that asks; by default this program's own.
    """
    if (known := known_addresses(host)) is not None:
        return known
    try:
        return await trio.to_thread.run_sync(
            partial(_look_up, host), abandon_on_cancel=True, limiter=cast("trio.CapacityLimiter", lookups)
        )
    except UnicodeError:  # a name that IDNA does not take
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
    except RuntimeError:  # the system gives us no more threads
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None


def _look_up(host: str) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        # To DNS the dot at the end says that the name is complete. A hosts file has none.
        if not host.endswith("."):
            raise
        found = socket.getaddrinfo(host.removesuffix("."), None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(host_of(address) for *_, address in found))


async def on_loopback(endpoint: Endpoint) -> bool:
    """Whether nobody but this machine can be there. Raises OSError if the name does not resolve."""
    if isinstance(endpoint, UnixPath):
        return True
    return endpoint.host != ALL_INTERFACES and all(map(is_loopback, await resolve(endpoint.host)))

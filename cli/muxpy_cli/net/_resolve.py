"""Names into addresses."""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakValueDictionary

import trio

from ..access import known_addresses
from ..specs import host_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Lookups", "lookups_of", "resolve"]

SHARE: Final = 8
"""Parallel lookups of one party: as many as a browser makes while it loads a page."""
THREADS: Final = 256
"""Parallel lookups of all parties together: 32 parties may have only dead names, and the others still wait for nobody.
Most threads are never started, and a waiting one takes some 25 KiB."""

_threads: Final = trio.CapacityLimiter(THREADS)


class Lookups:
    """The lookups of one party, which wait for each other before they could wait for anybody else's. One limit for all
    parties, however large, could be filled by one of them.

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

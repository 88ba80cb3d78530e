"""Names into addresses."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import trio

from ..specs import ALL_INTERFACES, UnixPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..specs import Endpoint

__all__ = ["is_loopback", "is_numeric", "on_loopback", "resolve"]

# Needs no resolver: RFC 6761 fixes what localhost means, and it is the target of most forwards.
_LOCALHOST: Final = ("127.0.0.1", "::1")

# Threads that look names up. A limit of their own: a peer that asks for names which take long must not use up all
# of Trio's. A lookup that was given up counts until its thread is really free.
_lookups: Final = trio.CapacityLimiter(8)


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


async def resolve(host: str) -> Sequence[str]:
    """The numeric addresses of a host. Raises OSError if it has none."""
    if is_numeric(host):
        return (host,)
    if host.lower() == "localhost":
        return _LOCALHOST
    try:
        found = await trio.to_thread.run_sync(
            partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM), abandon_on_cancel=True, limiter=_lookups
        )
    except UnicodeError:  # a name that IDNA does not take
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


async def on_loopback(endpoint: Endpoint) -> bool:
    """Whether nobody but this machine can be there. Raises OSError if the name does not resolve."""
    if isinstance(endpoint, UnixPath):
        return True
    return endpoint.host != ALL_INTERFACES and all(map(is_loopback, await resolve(endpoint.host)))

"""Names, addresses and sockets: what may be reached, and reaching it."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ._errors import Failure, describe
from ._specs import ALL_INTERFACES, Address, format_address
from ._wire import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "CONNECT_TIMEOUT",
    "Rules",
    "anything",
    "bound_addresses",
    "connect_target",
    "is_loopback",
    "loopback_only",
    "on_loopback",
    "open_listeners",
    "resolve",
]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach a target: to look its name up, and to try all of its addresses."""

# Needs no resolver: RFC 6761 fixes what localhost means, and it is the target of most forwards.
_LOCALHOST: Final = ("127.0.0.1", "::1")

# Threads that look names up. A limit of their own: a peer that asks for names which take long must not use up all
# of Trio's. A lookup that was given up counts until its thread is really free.
_lookups: Final = trio.CapacityLimiter(8)

_REASONS: Final[dict[type[OSError], str]] = {
    ConnectionRefusedError: "refused",
    TimeoutError: "timeout",
    socket.gaierror: "unresolved",
    PermissionError: "forbidden",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Which numeric addresses may be used, and how to say so to whom it was refused."""

    allows: Callable[[str], bool]
    text: str


def is_loopback(address: str) -> bool:
    """Whether a numeric address is this machine's own. 0.0.0.0 is not: it is every address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


loopback_only: Final = Rules(is_loopback, "only loopback addresses of the listening end are allowed")
anything: Final = Rules(lambda _: True, "")


async def resolve(host: str) -> Sequence[str]:
    """The numeric addresses of a host. Raises OSError if it has none."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
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


async def on_loopback(host: str) -> bool:
    """Whether all that a host stands for is loopback. Raises OSError if it does not resolve."""
    return host != ALL_INTERFACES and all(map(is_loopback, await resolve(host)))


async def connect_target(target: Address, rules: Rules) -> trio.SocketStream:
    """Connect to the first address of `target` that takes it; raises Refused.

    The rules are asked about the addresses, not the name: what a name means is up to whoever runs its DNS.
    """
    failure: OSError = TimeoutError()
    with trio.move_on_after(CONNECT_TIMEOUT):
        try:
            addresses = [address for address in await resolve(target.host) if rules.allows(address)]
        except OSError as error:
            raise Refused("unresolved", f"{target}: {describe(error)}") from error
        if not addresses:
            raise Refused("forbidden", f"{target}: {rules.text}")
        for address in addresses:
            try:
                return await _connect(address, target.port)
            except OSError as error:
                failure = error
    reason = next((name for kind, name in _REASONS.items() if isinstance(failure, kind)), "unreachable")
    raise Refused(reason, f"{target}: {describe(failure)}") from failure


async def _connect(address: str, port: int) -> trio.SocketStream:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def open_listeners(address: Address) -> list[trio.SocketListener]:
    """Bind and listen; raises Failure with the reason."""
    host = None if address.host == ALL_INTERFACES else address.host
    try:
        return await trio.open_tcp_listeners(address.port, host=host)
    except (OSError, UnicodeError) as error:
        raise Failure(f"cannot listen on {address}: {describe(error)}") from error


def bound_addresses(listeners: Sequence[trio.SocketListener]) -> str:
    """What they are bound to, for people."""
    return ", ".join(format_address(listener.socket.getsockname()) for listener in listeners)

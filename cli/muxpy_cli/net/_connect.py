"""Reaching targets: resolve, check the rules, connect."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

from .._errors import describe
from ..access import Forbidden, known_addresses
from ..specs import UnixPath
from ..wire import Refused
from ._attempts import connect_first
from ._policy import is_guarded, is_guarded_path
from ._resolve import resolve
from ._udp import Datagrams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..specs import Address, Endpoint
    from ._policy import Policy
    from ._sockets import Socket

__all__ = ["CONNECT_TIMEOUT", "connect_datagrams", "connect_socket"]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach a target: to look up its name and try all of its addresses."""

_REASONS: Final[dict[type[OSError], str]] = {
    ConnectionRefusedError: "refused",
    TimeoutError: "timeout",
    socket.gaierror: "unresolved",
    PermissionError: "forbidden",
    FileNotFoundError: "refused",
}


async def connect_socket(target: Endpoint, policy: Policy) -> socket.socket:
    """Connect to the first address of `target` that accepts; raises Refused.

    The rules are checked for the addresses, not the name: what a name means is decided by its DNS operator.
    """
    deadline = trio.current_time() + CONNECT_TIMEOUT
    try:
        if isinstance(target, UnixPath):
            _check_path(target, policy)
            return await _connect_path(target.path, deadline)
        allowed = await _allowed(target, policy, deadline)
        _check_not_ourselves(target, allowed, policy)
        return await connect_first(allowed, target.port, deadline, forwarded=True)
    except Forbidden as error:
        raise Refused("forbidden", error.reason) from error
    except OSError as error:
        raise _failed(target, error) from error


async def connect_datagrams(
    target: Address, policy: Policy, reached: Callable[[Socket], None] | None = None
) -> Datagrams:
    """A UDP socket that talks only to `target`; raises Refused. `reached` is called with a connected socket for each
    address that it talks to, and may raise Refused."""
    try:
        allowed = await _allowed(target, policy, trio.current_time() + CONNECT_TIMEOUT)
        return Datagrams(allowed, target.port, reached)
    except Forbidden as error:
        raise Refused("forbidden", error.reason) from error
    except OSError as error:
        raise _failed(target, error) from error


async def _allowed(target: Address, policy: Policy, deadline: float) -> Sequence[str]:
    """Those of the target's addresses that may be reached; raises Forbidden if none."""
    found = known_addresses(target.host)
    if found is None:  # a known address needs no timer, which each connection would pay for
        policy.name(target)
        found = await _look_up(target, policy, deadline)
    return policy.addresses(target, found)


async def _look_up(target: Address, policy: Policy, deadline: float) -> Sequence[str]:
    with trio.CancelScope(deadline=deadline) as limit:
        try:
            return await resolve(target.host, policy.lookups)
        except OSError as error:
            raise Refused("unresolved", f"{target}: {describe(error)}") from error
    assert limit.cancelled_caught
    raise Refused("timeout", f"{target}: the name does not resolve in time")


def _check_not_ourselves(target: Address, addresses: Sequence[str], policy: Policy) -> None:
    if policy.ourselves:
        return
    for address in addresses:
        if is_guarded(address, target.port):
            raise Forbidden(f"{target} is a port of muxpy itself, which no rule allows")


def _check_path(target: UnixPath, policy: Policy) -> None:
    policy.path(target)
    if not policy.ourselves and is_guarded_path(target.path):
        raise Forbidden(f"unix:{target} is a socket of muxpy itself, which no rule allows")


def _failed(target: Endpoint, error: OSError) -> Refused:
    reason = next((name for kind, name in _REASONS.items() if isinstance(error, kind)), "unreachable")
    return Refused(reason, f"{target}: {describe(error)}")


async def _connect_path(path: str, deadline: float) -> socket.socket:
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one = trio.socket.from_stdlib_socket(plain)
    try:
        with trio.CancelScope(deadline=deadline) as limit:
            await one.connect(path)
        if limit.cancelled_caught:
            raise TimeoutError
    except BaseException:
        one.close()
        raise
    return plain

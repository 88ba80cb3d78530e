"""Reaching targets: resolve, ask the rules, connect."""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .._errors import describe
from ..access import Forbidden
from ..specs import UnixPath
from ..wire import Refused
from ._resolve import is_numeric, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..specs import Address, Endpoint

__all__ = ["CONNECT_TIMEOUT", "Policy", "allow_all", "connect_datagrams", "connect_stream"]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach a target: to look its name up, and to try all of its addresses."""

_REASONS: Final[dict[type[OSError], str]] = {
    ConnectionRefusedError: "refused",
    TimeoutError: "timeout",
    socket.gaierror: "unresolved",
    PermissionError: "forbidden",
    FileNotFoundError: "refused",
}


class Policy:
    """Says which targets may be reached. This one: all."""

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the target's numeric addresses that may be reached; raises Forbidden if none."""
        return addresses

    def path(self, target: UnixPath) -> None:
        """Raises Forbidden if it may not be reached."""


allow_all: Final = Policy()


async def connect_stream(target: Endpoint, policy: Policy) -> trio.SocketStream:
    """Connect to the first address of `target` that takes it; raises Refused.

    The rules are asked about the addresses, not the name: what a name means is up to whoever runs its DNS.
    """
    deadline = trio.current_time() + CONNECT_TIMEOUT
    if isinstance(target, UnixPath):
        _ask(policy.path, target)
        return trio.SocketStream(await _try([target.path], target, partial(_connect_path, deadline)))
    allowed = await _allowed(target, policy, deadline)
    return trio.SocketStream(await _try(allowed, target, partial(_connect, target.port, deadline)))


async def connect_datagrams(target: Address, policy: Policy) -> trio.socket.SocketType:
    """A UDP socket that talks to `target` alone; raises Refused."""

    async def connect(address: str) -> trio.socket.SocketType:
        one = trio.socket.socket(_family(address), socket.SOCK_DGRAM)
        try:
            await one.connect((address, target.port))
        except BaseException:
            one.close()
            raise
        return one

    allowed = await _allowed(target, policy, trio.current_time() + CONNECT_TIMEOUT)
    return await _try(allowed, target, connect)


async def _allowed(target: Address, policy: Policy, deadline: float) -> Sequence[str]:
    """The target's addresses, as far as they may be reached."""
    found: Sequence[str] = ()
    if is_numeric(target.host):
        found = (target.host,)  # without the timer, which each connection would pay for
    else:
        with trio.CancelScope(deadline=deadline) as limit:
            try:
                found = await resolve(target.host)
            except OSError as error:
                raise Refused("unresolved", f"{target}: {describe(error)}") from error
        if limit.cancelled_caught:
            raise Refused("timeout", f"{target}: the name does not resolve in time")
    try:
        return policy.addresses(target, found)
    except Forbidden as error:
        raise Refused("forbidden", error.reason) from error


def _ask(ask: Callable[[UnixPath], None], target: UnixPath) -> None:
    try:
        ask(target)
    except Forbidden as error:
        raise Refused("forbidden", error.reason) from error


async def _try(
    addresses: Sequence[str], target: Endpoint, connect: Callable[[str], Awaitable[trio.socket.SocketType]]
) -> trio.socket.SocketType:
    failure: OSError = TimeoutError()
    for address in addresses:
        try:
            return await connect(address)
        except OSError as error:
            failure = error
    reason = next((name for kind, name in _REASONS.items() if isinstance(failure, kind)), "unreachable")
    raise Refused(reason, f"{target}: {describe(failure)}") from failure


async def _connect(port: int, deadline: float, address: str) -> trio.socket.SocketType:
    # Not through trio's connect, which asks the resolver about the number first.
    one = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        code = one.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            # On this machine it is done by now, and asking again is a tenth of the price of waiting.
            code = one.connect_ex((address, port))
        if code == errno.EALREADY:
            await _until_writable(one, deadline)
            code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code not in (0, errno.EISCONN):
            raise OSError(code, os.strerror(code))
    except BaseException:
        one.close()
        raise
    return trio.socket.from_stdlib_socket(one)


async def _until_writable(one: socket.socket, deadline: float) -> None:
    with trio.CancelScope(deadline=deadline) as limit:
        await trio.lowlevel.wait_writable(one)
    if limit.cancelled_caught:
        raise TimeoutError


async def _connect_path(deadline: float, path: str) -> trio.socket.SocketType:
    one = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with trio.CancelScope(deadline=deadline) as limit:
            await one.connect(path)
        if limit.cancelled_caught:
            raise TimeoutError
    except BaseException:
        one.close()
        raise
    return one


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET

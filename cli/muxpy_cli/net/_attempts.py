"""Connecting to the first of several addresses that answers: Happy Eyeballs, version 2 (RFC 8305)."""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import trio

from ..specs import family_of, socket_address
from ._sockets import prepare_forwarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    Begin: TypeAlias = Callable[[str], tuple[socket.socket, bool]]

__all__ = ["connect_first"]

ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next attempt starts beside one that has not finished: RFC 8305, section 8."""

_NO_WAY: Final = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, None}
"""Errors about this machine, which may lack IPv6 or an interface; they say nothing about the target."""


async def connect_first(
    addresses: Sequence[str], port: int, deadline: float, *, forwarded: bool = False
) -> socket.socket:
    """Connect to one of the numeric addresses of a host, given in order of preference.

    Each attempt may take until `deadline`, and the next one starts when it has failed, or after ATTEMPT_DELAY. Raises
    the most informative OSError of the attempts. `forwarded`: see `prepare_forwarded`.
    """
    failures: list[OSError] = []
    order = _interleaved(addresses) if len(addresses) > 1 else addresses
    for position, address in enumerate(order, 1):
        try:
            one, is_ready = _begin(address, port=port, forwarded=forwarded)
            if is_ready:  # as always on loopback; needs no task and no timer
                return one
            if position == len(order):
                return await _finish(one, deadline)
        except OSError as error:
            failures.append(error)
        else:
            begin = partial(_begin, port=port, forwarded=forwarded)
            return await _race(one, order[position:], begin, deadline, failures)
    raise _most_telling(failures)


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """The families alternately, so that one without a route costs one delay: RFC 8305, section 4."""
    first: list[str] = []
    second: list[str] = []
    for address in addresses:
        (first if family_of(address) == family_of(addresses[0]) else second).append(address)
    return [address for pair in zip_longest(first, second) for address in pair if address is not None]


def _most_telling(failures: list[OSError]) -> OSError:
    def rank(error: OSError) -> int:
        if isinstance(error, ConnectionRefusedError):
            return 0
        return 1 if isinstance(error, TimeoutError) or error.errno not in _NO_WAY else 2

    return min(failures, key=rank, default=TimeoutError())


async def _race(
    first: socket.socket, others: Sequence[str], begin: Begin, deadline: float, failures: list[OSError]
) -> socket.socket:
    """Continue with a connection that was started, and start others beside it."""
    connected: list[socket.socket] = []

    async def attempt(connect: Callable[[], Awaitable[socket.socket]], is_over: trio.Event) -> None:
        try:
            connected.append(await connect())
        except OSError as error:
            failures.append(error)
            is_over.set()
        else:
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            is_over = trio.Event()
            nursery.start_soon(attempt, partial(_finish, first, deadline), is_over)
            for address in others:
                with trio.move_on_after(ATTEMPT_DELAY):
                    await is_over.wait()
                if trio.current_time() >= deadline:
                    break
                is_over = trio.Event()
                nursery.start_soon(attempt, partial(_connect, begin, address, deadline), is_over)
    except BaseException:
        _close(connected)
        raise
    _close(connected[1:])  # two may succeed in the same pass of the loop
    if not connected:
        raise _most_telling(failures)
    return connected[0]


async def _connect(begin: Begin, address: str, deadline: float) -> socket.socket:
    one, is_ready = begin(address)
    return one if is_ready else await _finish(one, deadline)


def _begin(address: str, *, port: int, forwarded: bool) -> tuple[socket.socket, bool]:
    """A connecting socket, and whether it is already connected. Raises OSError.

    Not through trio's connect, which first asks the resolver about the numeric address.
    """
    one = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if forwarded:
            prepare_forwarded(one, address)
        where = socket_address(address, port)
        code = one.connect_ex(where)
        if code == errno.EINPROGRESS:
            # On this machine it is done by now, and asking again is a tenth of the price of waiting.
            code = one.connect_ex(where)
        if code not in (0, errno.EISCONN, errno.EALREADY):
            raise OSError(code, os.strerror(code))
    except BaseException:
        one.close()
        raise
    return one, code != errno.EALREADY


async def _finish(one: socket.socket, deadline: float) -> socket.socket:
    try:
        with trio.CancelScope(deadline=deadline) as limit:
            await trio.lowlevel.wait_writable(one)
        if limit.cancelled_caught:
            raise TimeoutError
        if code := one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
    except BaseException:
        one.close()
        raise
    return one


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()

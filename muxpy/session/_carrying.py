"""Sockets whose bytes streams carry: for `Session.connect_socket`, `Session.bind` and `Stream.forward_to`.

A cut must never look like the end of the data. So each of these sockets is set such that closing it is a reset, also
when the kernel closes it because this process was killed; only after an orderly end it closes in order. Unix sockets
have no resets: there a cut shows only in what the data says itself.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import trio

from muxpy._codes import ErrorCode
from muxpy._errors import SessionClosed
from muxpy.transport import do_not_pace

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOOPBACK", "Place", "carry", "forward", "resetting", "socket_pair"]

log = logging.getLogger("muxpy.session")

Place: TypeAlias = "int | tuple[str, int] | str | os.PathLike[str]"
"""Where something listens: a port of this machine's loopback address, host and port, or the path of a Unix socket."""

LOOPBACK: Final = "127.0.0.1"

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that a target may take to accept a connection, its name's lookup included."""

_RESET: Final = struct.pack("ii", 1, 0)
_IN_ORDER: Final = struct.pack("ii", 0, 0)

_KEEPALIVE: Final = [
    (number, value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 6))
    if (number := getattr(socket, name, None)) is not None
]
"""A peer that vanishes is found after 150 s of silence, and not after the two hours that are the system's default."""


class Carried(Protocol):
    """What is used of a stream."""

    async def splice(self, socket: trio.SocketStream, /) -> None: ...
    def receive_nowait(self) -> bytes: ...
    def reset(self, code: int = ErrorCode.CANCEL) -> None: ...


async def carry(stream: Carried, near: trio.SocketStream) -> None:
    """Join a stream to a socket until both directions have ended, and close the socket. If one side fails, or this is
    cancelled, both are reset."""
    with resetting(near):
        try:
            await stream.splice(near)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if not (isinstance(error, SessionClosed) and _is_whole(stream)):
                return
        finally:
            stream.reset()  # does nothing after an orderly end
        _set_linger(near, _IN_ORDER)


def _is_whole(stream: Carried) -> bool:
    """Whether the peer had ended its direction, in a session that has ended: the splice has written all of it then,
    and only what the socket may still send is cut off."""
    try:
        return not stream.receive_nowait()
    except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        return False


@contextmanager
def resetting(near: trio.SocketStream) -> Iterator[None]:
    """Close the socket at the end of the block: with a reset, unless it was set to close in order."""
    _set_linger(near, _RESET)
    try:
        yield
    finally:
        near.socket.close()


def _set_linger(near: trio.SocketStream, how: bytes) -> None:
    with suppress(OSError):  # closed already
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)


# ---- to a target ----


async def forward(stream: Carried, target: Place) -> None:
    """See `Stream.forward_to`."""
    try:
        near = await _connect(target)
    except OSError as error:
        log.warning("%r: cannot reach %s: %s", stream, target, error)
        stream.reset(ErrorCode.REFUSED_STREAM)  # nothing was done for it: safe to retry
    except BaseException:
        stream.reset()
        raise
    else:
        await carry(stream, near)


async def _connect(target: Place) -> trio.SocketStream:
    with trio.move_on_after(CONNECT_TIMEOUT):
        if isinstance(target, (str, os.PathLike)):
            return await trio.open_unix_socket(target)
        host, port = (LOOPBACK, target) if isinstance(target, int) else target
        near = await trio.open_tcp_stream(host, port)
        if host == LOOPBACK:
            do_not_pace(near.socket)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            near.setsockopt(socket.IPPROTO_TCP, option, value)
        return near
    raise TimeoutError(f"not connected within {CONNECT_TIMEOUT:g} s")


# ---- both ends here ----


async def socket_pair() -> tuple[trio.SocketStream, socket.socket]:
    """Two ends of a connection, one of them for somebody else, who may block on it.

    It is TCP, and not `socket.socketpair`, whose Unix sockets have no resets, and refuse what libraries do to the
    sockets that they are given, such as switching off Nagle's algorithm.
    """
    with trio.move_on_after(CONNECT_TIMEOUT), socket.socket() as listener:
        listener.setblocking(False)
        do_not_pace(listener)  # which the far end inherits
        listener.bind((LOOPBACK, 0))
        listener.listen()
        near = trio.socket.socket()
        do_not_pace(near)
        try:
            await near.connect(listener.getsockname())
            far = await _accept_from(listener, near.getsockname())
        except BaseException:
            near.close()
            raise
        far.setblocking(True)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return trio.SocketStream(near), far
    raise TimeoutError(f"this machine's {LOOPBACK} does not answer within {CONNECT_TIMEOUT:g} s")


async def _accept_from(listener: socket.socket, ours: object) -> socket.socket:
    """The connection that comes from there: anybody on this machine may have been quicker."""
    while True:
        with suppress(BlockingIOError):
            far, address = listener.accept()
            if address == ours:
                return far
            far.close()
        await trio.lowlevel.wait_readable(listener)

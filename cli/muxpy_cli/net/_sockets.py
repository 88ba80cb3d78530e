"""Sockets: how those of forwarded connections end, how a peer that vanishes is found, and Unix sockets as files."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

__all__ = [
    "close_in_order",
    "close_with_reset",
    "end_in_order",
    "inode",
    "is_abandoned",
    "prepare_forwarded",
    "private_files",
    "reset_on_close",
    "unanswered_for",
]

IDLE: Final = 60
"""Seconds of silence after which TCP asks whether the peer is still there."""
INTERVAL: Final = 15
PROBES: Final = 6
"""Unanswered questions, INTERVAL seconds apart, after which it is not: 150 s in all, so that it is known within three
minutes. That is longer than a phone changes networks or a laptop is carried to the next room."""

_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)
_INFO: Final = struct.Struct("=3xB20xI28xI")
"""Of the kernel's struct tcp_info: zero window probes, segments on their way, milliseconds since the last
acknowledgement."""

_LINGER: Final = struct.pack("ii", 1, 0)
_NO_LINGER: Final = struct.pack("ii", 0, 0)
_KEEPALIVE: Final = [
    (socket.IPPROTO_TCP, number, value)
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", INTERVAL), ("TCP_KEEPCNT", PROBES))
    if (number := getattr(socket, name, None)) is not None
]


def prepare_forwarded(one: socket.socket | trio.socket.SocketType) -> None:
    """Prepare the socket of a connection that is to be forwarded, before it carries anything; or a listening one, whose
    connections inherit it.

    From now on closing it is a reset, whoever does it: if this process is killed, the kernel. An end must never be
    taken for the end of the data. `end_in_order` takes that back. Unix sockets know no resets.
    """
    if one.family == socket.AF_UNIX:
        return
    with suppress(OSError):  # of a connection that is gone already
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for level, number, value in _KEEPALIVE:
            one.setsockopt(level, number, value)


def end_in_order(one: trio.socket.SocketType) -> None:
    """All has been said: closing it is an end from now on, and what is not sent yet still will be."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


def close_in_order(one: trio.socket.SocketType) -> None:
    """Close it after all has been said. There is nothing to wait for."""
    end_in_order(one)
    one.close()


def reset_on_close(one: socket.socket | trio.socket.SocketType) -> None:
    """Whoever closes it, it is a reset: nothing is left of it then, and its other end gets an error."""
    with suppress(OSError):  # closed already
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def close_with_reset(one: socket.socket | trio.socket.SocketType) -> None:
    """Close it such that whoever is at its other end gets an error."""
    reset_on_close(one)
    one.close()


def unanswered_for(one: trio.socket.SocketType) -> float:
    """Seconds since the peer has acknowledged anything, while it owes an acknowledgement; 0.0 if it owes none.

    Keepalive does not ask while something is on its way; TCP itself gives up after a quarter of an hour. Its own limit,
    TCP_USER_TIMEOUT, would also cut off a peer that is alive and just does not read. Such a peer still acknowledges the
    probes of its closed window, two minutes apart at most.
    """
    if _TCP_INFO is None or one.family == socket.AF_UNIX:
        return 0.0
    try:
        info = one.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO.size)
    except OSError:  # it was closed
        return 0.0
    probes, underway, milliseconds = _INFO.unpack(info)
    return milliseconds / 1000 if probes or underway else 0.0


# ---- Unix sockets as files ----


def is_abandoned(path: str) -> bool:
    """Whether nobody listens on a socket any more: its process was killed. Raises OSError if that cannot be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    return False


def inode(path: str) -> tuple[int, int] | None:
    """Which file it is that has this name now; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile is for its owner alone; a chmod afterwards would leave a moment."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)

"""Sockets: how those of forwarded connections end, how a peer that vanishes is found, and Unix sockets as files."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Socket",
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

Socket: TypeAlias = socket.socket | trio.socket.SocketType
"""Python's, or Trio's around it."""

IDLE: Final = 60
"""Seconds of silence after which TCP keepalive probes the peer."""
INTERVAL: Final = 15
PROBES: Final = 6
"""Unanswered probes, INTERVAL seconds apart, after which the peer is gone: 150 s in all, so it is known within three
minutes. A phone that changes networks, or a laptop that is carried to another room, is back sooner."""

_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)
_INFO: Final = struct.Struct("=3xB20xI28xI")
"""Fields of the kernel's struct tcp_info: zero window probes, segments in flight, milliseconds since the last
acknowledgement."""

_LINGER: Final = struct.pack("ii", 1, 0)
_NO_LINGER: Final = struct.pack("ii", 0, 0)
_KEEPALIVE: Final = [
    (socket.IPPROTO_TCP, number, value)
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", INTERVAL), ("TCP_KEEPCNT", PROBES))
    if (number := getattr(socket, name, None)) is not None
]
_UNSENT: Final = 16 * 1024
"""Bytes that the kernel takes before it has sent them, as Trio's sockets have it: more would wait where nobody sees
that they wait (backpressure)."""
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)


_CONGESTION: Final[int | None] = getattr(socket, "TCP_CONGESTION", None)


def prepare_forwarded(one: Socket, host: str = "") -> None:
    """Prepare the socket of a connection that will be forwarded, before it carries anything; or a listening one, whose
    connections inherit the options. Small writes do not wait for more (Nagle). `host`: the numeric address that it is
    for; on this machine nothing is paced, as for sessions (`muxpy.transport`).

    From now on closing it is a reset, also when the kernel closes it because this process is killed: a cut must never
    look like the end of the data. `end_in_order` reverts that. Unix sockets have no resets.
    """
    try:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for level, number, value in _KEEPALIVE:
            one.setsockopt(level, number, value)
        if _NOTSENT_LOWAT is not None:
            one.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT)
        if host.startswith("127.") or host == "::1":
            _do_not_pace(one)
    except OSError:
        return  # the connection has gone already, or is no TCP


def _do_not_pace(one: Socket) -> None:
    if _CONGESTION is not None and one.getsockopt(socket.IPPROTO_TCP, _CONGESTION, 16).startswith(b"bbr"):
        one.setsockopt(socket.IPPROTO_TCP, _CONGESTION, b"reno")


def end_in_order(one: Socket) -> None:
    """All data was written: closing is an orderly end from now on, after what is still to be sent."""
    _linger(one, _NO_LINGER)


def close_in_order(one: Socket) -> None:
    """Close it after all data was written. There is nothing to wait for, and no task may wait for the socket: Trio,
    which would have to look for such tasks, is not told."""
    end_in_order(one)
    if (number := one.detach()) >= 0:
        os.close(number)


def reset_on_close(one: Socket) -> None:
    """Make any close a reset: it leaves nothing behind, and the other end gets an error."""
    _linger(one, _LINGER)


def _linger(one: Socket, how: bytes) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
    except OSError:
        return  # closed already


def close_with_reset(one: Socket) -> None:
    """Close it so that the other end gets an error."""
    reset_on_close(one)
    one.close()


def unanswered_for(one: Socket) -> float:
    """Seconds since the peer last acknowledged anything, while it owes an acknowledgement; 0.0 if it owes none.

    Keepalive sends no probes while data is in flight, and TCP itself gives up after a quarter of an hour. Its option
    TCP_USER_TIMEOUT would also cut off a live peer that just does not read. Such a peer still acknowledges the probes
    of its closed window, at most two minutes apart.
    """
    if _TCP_INFO is None or one.family == socket.AF_UNIX:
        return 0.0
    try:
        info = one.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO.size)
    except OSError:  # closed
        return 0.0
    probes, underway, milliseconds = _INFO.unpack(info)
    return milliseconds / 1000 if probes or underway else 0.0


# ---- Unix sockets as files ----


def is_abandoned(path: str) -> bool:
    """Whether no process listens on a Unix socket any more: it was killed. Raises OSError if that is unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass  # its queue is full, so a process listens
    return False


def inode(path: str, *, follow: bool = False) -> tuple[int, int] | None:
    """Which file has this name now, or with `follow`, which one it leads to; None if there is none."""
    try:
        status = os.stat(path, follow_symlinks=follow)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def private_files() -> Iterator[None]:
    """Files created in the block are for their owner only; a later chmod would leave a gap."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)

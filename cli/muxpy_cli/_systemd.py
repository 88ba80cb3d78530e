"""What a service manager is told and asked: sd_notify(3), the watchdog, and sockets that systemd has opened for us.

All of it does nothing where systemd did not start the process. The protocols are a datagram of text and some variables
in the environment, and stable by promise of systemd, so they are spoken here: `sdnotify` sends the datagram but knows
neither the watchdog's interval nor sockets and had its last release in 2017; `systemd-python` and `cysystemd` are
extensions in C around libsystemd, which a container or another system does not have.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

import trio

from ._errors import Failure, describe

__all__ = [
    "listen_sockets",
    "notify",
    "notify_ready",
    "notify_reloading",
    "notify_stopping",
    "run_watchdog",
    "watchdog_interval",
]

SEND_TIMEOUT: Final = 0.5
"""Seconds to wait for room in systemd's queue. It reads immediately; if it does not, it is better to lose a line
than to have the event loop stand still."""
MAX_STATUS: Final = 1000
"""Characters of a status line."""
FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START: passed descriptors begin behind standard error."""
MAX_SOCKETS: Final = 1024
"""More than any unit has: a larger number is not from systemd."""

_FAMILIES: Final = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}


# ---- telling systemd ----


def notify(state: str) -> bool:
    """Send assignments such as "READY=1", one on a line; whether they were sent. Never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]  # a name in the abstract namespace, which has no file
    with suppress(OSError, UnicodeError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(SEND_TIMEOUT)
        sock.sendto(state.encode(errors="replace"), address)
        return True
    return False


def notify_ready(status: str) -> bool:
    """Started, or done with reloading; `status` is what `systemctl status` shows in one line."""
    return notify(f"READY=1\nSTATUS={_one_line(status)}")


def notify_stopping() -> bool:
    """About to end; open connections may still be finishing."""
    return notify("STOPPING=1")


def notify_reloading() -> bool:
    """Reading the configuration again; `notify_ready` ends it, also if the old configuration stays in force."""
    # The time tells systemd which reload this is about, with Type=notify-reload.
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def _one_line(status: str) -> str:
    """A line end in it would be the end of the assignment, and what follows another one."""
    return " ".join(status.split())[:MAX_STATUS]


# ---- the watchdog ----


def watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what systemd waits. None if it expects none of this process."""
    if not _is_ours("WATCHDOG_PID", default=True):
        return None
    microseconds = _digits(os.environ.get("WATCHDOG_USEC", ""))
    return microseconds / 2e6 if microseconds else None


async def run_watchdog() -> None:
    """Send signs of life until cancelled; returns immediately if none are expected.

    They come from the event loop, not from a thread: if it hangs they stay away, and systemd starts the program anew.
    """
    interval = watchdog_interval()
    if interval is None:
        return
    while True:
        notify("WATCHDOG=1")
        await trio.sleep(interval)


# ---- socket activation ----


def listen_sockets() -> list[socket.socket]:
    """The listening sockets that systemd has opened for this process, in the order of the .socket unit; [] if
    there are none.

    To be called once: the variables that tell of them are taken out of the environment, so that no child takes them
    for its own. Raises Failure if what was passed is not a listening stream socket.
    """
    ours = _is_ours("LISTEN_PID", default=False)
    given = os.environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not ours:
        return []
    count = _digits(given)
    if count is None or count > MAX_SOCKETS:
        raise Failure(f"LISTEN_FDS must be the number of passed sockets, and is {given!r}")
    return _adopt(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count))


def _adopt(descriptors: range) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            sockets.append(_socket(descriptor))
            _check(sockets[-1])
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _socket(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)  # they come without close-on-exec
        return socket.socket(fileno=descriptor)
    except OSError as error:
        what = f"the service manager passed no socket as descriptor {descriptor}"
        raise Failure(f"{what}: {describe(error)}") from error


def _check(sock: socket.socket) -> None:
    what = f"the socket that the service manager passed as descriptor {sock.fileno()}"
    if sock.family not in _FAMILIES or sock.type != socket.SOCK_STREAM:
        raise Failure(f"{what} carries no streams: the .socket unit needs ListenStream=")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise Failure(f"{what} is a connection, and does not listen: the .socket unit needs Accept=no")


# ---- the environment ----


def _is_ours(variable: str, *, default: bool) -> bool:
    """Whether it has this process's id: variables may be left over from a parent that they were meant for."""
    value = os.environ.get(variable)
    return default if value is None else _digits(value) == os.getpid()


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

"""Who may reach which targets, and what this process listens on for itself: no rule lets anybody reach that through
this process.

To the metrics, the control socket and the port that sessions come to, whoever comes from here is a local user, and all
of them are one host.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakKeyDictionary

import trio

from ..access import UNSPECIFIED, is_own, parse_ip
from ._resolve import Lookups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..access import Ip
    from ..specs import Address, UnixPath

__all__ = ["Policy", "all_but_ourselves", "allow_all", "guard", "is_guarded", "is_guarded_path"]


class Policy:
    """What one party may reach. This one: all."""

    def __init__(self, lookups: Lookups, *, ourselves: bool = True) -> None:
        self.lookups = lookups
        """In which its names are looked up."""
        self.ourselves = ourselves
        """Whether it may reach what this process listens on for itself: see `guarding`."""

    def name(self, target: Address) -> None:
        """Raises Forbidden if the target may not be reached, wherever its name leads: nobody looks it up then."""

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the target's numeric addresses that may be reached; raises Forbidden if none."""
        return addresses

    def path(self, target: UnixPath) -> None:
        """Raises Forbidden if it may not be reached."""


# All targets that the other end has reached from here count as one party, so that they do not keep this program's own
# lookups waiting.
_lookups: Final = Lookups()

allow_all: Final = Policy(_lookups)
"""For targets that this end has chosen."""
all_but_ourselves: Final = Policy(_lookups, ourselves=False)
"""For targets that somebody at the other end has chosen."""


# ---- what this process listens on for itself ----

_Socket: TypeAlias = socket.socket | trio.socket.SocketType

# By port, which is looked at for each connection.
_ports: Final[dict[int, WeakKeyDictionary[_Socket, Ip | None]]] = {}
_files: Final = WeakKeyDictionary[_Socket, tuple[int, int]]()


def guard(listening: _Socket, path: str | None = None) -> None:
    """Let nobody reach a listening socket, as long as it is open; `path` is where a Unix socket is, if not where it was
    bound."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        _ports.setdefault(name[1], WeakKeyDictionary())[listening] = parse_ip(str(name[0]))
    elif (file := _file(path or name)) is not None:
        _files[listening] = file


def is_guarded(address: str, port: int) -> bool:
    """Whether a connection to a numeric address would come to what is guarded."""
    return port in _ports and any(
        listening.fileno() >= 0 and _leads_to(address, bound) for listening, bound in _ports[port].items()
    )


def is_guarded_path(path: str) -> bool:
    """The same for a path, whatever links and names lead there."""
    file = _file(path)
    return any(guarded == file and listening.fileno() >= 0 for listening, guarded in _files.items())


def _leads_to(address: str, bound: Ip | None) -> bool:
    if parse_ip(address) in UNSPECIFIED:  # Linux connects to the loopback address of the family
        address = "::1" if parse_ip(address) == parse_ip("::") else "127.0.0.1"
    ip = parse_ip(address)
    if ip is None or bound is None or bound not in UNSPECIFIED:
        return ip == bound
    # What listens on :: takes IPv4 as well, unless it asked not to.
    return bound.version >= ip.version and (ip.is_loopback or is_own(address))


def _file(path: str) -> tuple[int, int] | None:
    """Which file it is; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino

"""Which targets a party may reach, and what this process listens on for itself: no rule opens that through the tunnel.

The metrics, the control socket and the listening port trust or count clients by the address that they come from, and
everything that comes through the tunnel comes from loopback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from ..access import UNSPECIFIED, is_own, parse_ip
from ._resolve import Lookups
from ._sockets import Socket, inode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..access import Ip
    from ..specs import Address, UnixPath

__all__ = ["Policy", "all_but_ourselves", "allow_all", "guard", "is_guarded", "is_guarded_path"]


class Policy:
    """The targets that one party may reach. This base class allows all."""

    def __init__(self, lookups: Lookups, *, ourselves: bool = True) -> None:
        self.lookups = lookups
        """Its share of the lookups."""
        self.ourselves = ourselves
        """Whether it may reach what this process listens on for itself: see `guard`."""

    def name(self, target: Address) -> None:
        """Raises Forbidden if the target may not be reached wherever its name leads, which then is not looked up."""

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the target's numeric addresses that may be reached; raises Forbidden if none."""
        return addresses

    def path(self, target: UnixPath) -> None:
        """Raises Forbidden if it may not be reached."""


# All targets that the other end reaches through here are one party, so that they do not delay this program's own
# lookups.
_lookups: Final = Lookups()

allow_all: Final = Policy(_lookups)
"""For targets that this end has chosen: it may well forward its own metrics with -R."""
all_but_ourselves: Final = Policy(_lookups, ourselves=False)
"""For targets that somebody at the other end has chosen."""


# ---- what this process listens on for itself ----

# By port, since every connection is checked.
_ports: Final[dict[int, WeakKeyDictionary[Socket, Ip | None]]] = {}
_files: Final = WeakKeyDictionary[Socket, tuple[int, int]]()


def guard(listening: Socket, path: str | None = None) -> None:
    """Let no target lead to a listening socket, as long as it is open; `path` is the path of a Unix socket that is not
    where it was bound."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        _ports.setdefault(name[1], WeakKeyDictionary())[listening] = parse_ip(str(name[0]))
    elif (file := inode(path or name, follow=True)) is not None:
        _files[listening] = file


def is_guarded(address: str, port: int) -> bool:
    """Whether a connection to a numeric address would reach a guarded socket."""
    return port in _ports and any(
        listening.fileno() >= 0 and _leads_to(address, bound) for listening, bound in _ports[port].items()
    )


def is_guarded_path(path: str) -> bool:
    """The same for a path, through any links and names."""
    file = inode(path, follow=True)
    return any(guarded == file and listening.fileno() >= 0 for listening, guarded in _files.items())


def _leads_to(address: str, bound: Ip | None) -> bool:
    if parse_ip(address) in UNSPECIFIED:  # Linux connects to the loopback address of the family
        address = "::1" if parse_ip(address) == parse_ip("::") else "127.0.0.1"
    ip = parse_ip(address)
    if ip is None or bound is None or bound not in UNSPECIFIED:
        return ip == bound
    # A socket on :: accepts IPv4 as well, unless it is set not to.
    return bound.version >= ip.version and (ip.is_loopback or is_own(address))

"""Numeric addresses, in the one form in which rules and tables compare them: which are special, and which our own."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from .._errors import is_exhausted
from ..specs import family_of, socket_address

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "UNSPECIFIED",
    "Ip",
    "IpNetwork",
    "carried_by",
    "is_loopback",
    "is_mapped",
    "is_numeric",
    "is_own",
    "is_special",
    "known_addresses",
    "network_of",
    "parse_ip",
    "parse_network",
]

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

UNSPECIFIED: Final[frozenset[Ip]] = frozenset({ipaddress.IPv4Address("0.0.0.0"), ipaddress.IPv6Address("::")})
"""To bind, every address of the machine; to connect to, Linux takes them for loopback."""

_LOCALHOST: Final = ("127.0.0.1", "::1")
"""What localhost and the names below it mean, whatever a hosts file says (RFC 6761, section 6.3)."""

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
# They carry an IPv4 address in their last 32 bits, and a gateway or an old stack may send what goes there to it:
# the NAT64 prefix of RFC 6052, and the IPv4-compatible addresses of RFC 4291.
_CARRIERS: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))

# Each stands for some IPv4 address, by an arrangement that only the network knows, or that a stranger has chosen: the
# NAT64 prefix of RFC 8215, Teredo (RFC 4380), and IPv4-translated addresses (RFC 2765, section 2.1).
_TRANSLATED: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "2001::/32", "::ffff:0:0:0/96")))

# Metadata services, which give credentials to anybody who asks from inside a virtual machine: those whose addresses
# are not link-local.
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",  # AWS, of containers (EKS)
            "fd20:ce::254",  # Google Cloud
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure's WireServer
            "192.0.0.192",  # Oracle Cloud
            "fd00:c1::a9fe:a9fe",  # Oracle Cloud
            "fd00:42::42",  # Scaleway
        ),
    )
)

_DISCARD: Final = 9
"""Any port will do (RFC 863)."""


@lru_cache(maxsize=1024)  # each connection asks for its address once for each rule
def parse_ip(text: str) -> Ip | None:
    """The address without its zone (`%eth0`), an IPv4-mapped one as IPv4; None if it is none."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


@lru_cache(maxsize=1024)  # asked for each connection
def known_addresses(host: str) -> Sequence[str] | None:
    """The numeric addresses of a host that need no lookup: of an address, and of localhost. None: it takes one."""
    if f".{host.lower().removesuffix('.')}".endswith(".localhost"):
        return _LOCALHOST
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return (host,)


def is_loopback(address: str) -> bool:
    """Whether only this machine can be at a numeric address. 0.0.0.0 is not such an address: it is every one."""
    ip = parse_ip(address)
    return ip is not None and ip.is_loopback


def is_mapped(text: str) -> bool:
    """Whether an address is IPv4-mapped. Programs have both families in one form with it; no DNS should answer with one
    (RFC 4291, section 2.5.5.2)."""
    ip = parse_ip(text)
    return ":" in text and ip is not None and ip.version == 4


def parse_network(text: str) -> IpNetwork:
    """An address or CIDR; one inside the IPv4-mapped block as IPv4. Raises ValueError."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def network_of(address: str) -> str:
    """What counts as one client's address: for IPv6 the network of 64 bits that it lies in, all of which a single
    machine may have; otherwise the address itself."""
    ip = parse_ip(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip) if ip else address


def is_numeric(host: str) -> bool:
    """Whether a resolver reads it as a number, not a name: `127.1` and `0x7f000001` are addresses to inet_aton, too.

    The last label decides, as in the URL standard: no top-level domain is a number.
    """
    if parse_ip(host) is not None:
        return True
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdecimal() or last[:2].lower() == "0x"


def is_special(ip: Ip) -> bool:
    """Whether an address means something about this machine or its network, so that no foreign DNS may lead to it.

    Private addresses (10.0.0.0/8 and the like) are not special: names inside a company lead there.
    """
    carried = carried_by(ip)
    return (
        ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip in UNSPECIFIED
        or ip in _METADATA
        or any(ip in network for network in _TRANSLATED)
        or (
            ip.version == 4 and ip.is_reserved
        )  # 240.0.0.0/4, with the broadcast address; IPv6 reserves much that is free
        or (carried is not None and is_special(carried))
    )


def carried_by(ip: Ip) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address may lead to; None if there is none."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return None
    if any(ip in network for network in _CARRIERS):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.sixtofour


def is_own(address: str) -> bool:
    """Whether an interface of this machine has the numeric address.

    The kernel is asked, so the answer is up to date: the route to one of our own addresses begins at that very address.
    That costs three system calls, and sends nothing. A list of interfaces may be out of date, and a socket can be bound
    to any address where `net.ipv4.ip_nonlocal_bind` is set. Of the loopback addresses, this finds 127.0.0.1 and ::1
    only.
    """
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
            probe.connect(socket_address(address, _DISCARD))
            return parse_ip(str(probe.getsockname()[0])) == parse_ip(address)
    except OSError as error:
        # An address without a route is none of ours. If the kernel cannot be asked, the safe answer is that it is.
        return is_exhausted(error)

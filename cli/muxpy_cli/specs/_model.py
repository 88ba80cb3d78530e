"""Addresses and forwards as values, and addresses as the system's calls take and give them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

__all__ = [
    "ALL_INTERFACES",
    "Address",
    "Direction",
    "Endpoint",
    "Forward",
    "Kind",
    "UnixPath",
    "family_of",
    "format_address",
    "host_of",
    "socket_address",
]

ALL_INTERFACES: Final = "*"


@dataclass(frozen=True, slots=True)
class Address:
    """A host, as a name or a number without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket."""

    path: str

    def __str__(self) -> str:
        return self.path


Endpoint: TypeAlias = Address | UnixPath


class Kind(StrEnum):
    """What is spoken where a forward is bound."""

    TCP = "tcp"
    """Connections of TCP or of a Unix socket, to a fixed target."""
    UDP = "udp"
    SOCKS = "socks"
    HTTP = "http"
    """An HTTP proxy that knows CONNECT."""


class Direction(StrEnum):
    """Where a forward is bound."""

    LOCAL = "local"
    """At the connecting end; the listening end reaches the target."""
    REMOTE = "remote"
    """At the listening end; the connecting end reaches the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Connections to `bind` at one end go to `target` at the other. The host of `bind` may be ALL_INTERFACES."""

    direction: Direction
    kind: Kind
    bind: Endpoint
    target: Endpoint | None
    """None for SOCKS and HTTP: each connection names its own."""
    name: str = ""
    """What a configuration calls it."""
    proxy_protocol: int = 0
    """1 or 2: the version of the PROXY header that tells the target who the client is. 0: none."""

    def __str__(self) -> str:
        return self.name or f"{self.bind} -> {self.target or self.kind}"


def family_of(host: str) -> socket.AddressFamily:
    """Of a numeric address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def socket_address(host: str, port: int) -> tuple[Any, ...]:
    """A numeric address to bind or connect to. Raises OSError if its zone is no interface.

    Python wants the zone of `fe80::1%eth0` (RFC 4007, section 11) as a number of its own, and ignores it in the text.
    """
    address, _, zone = host.partition("%")
    if not zone:
        return host, port
    return address, port, 0, int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)


def host_of(address: tuple[Any, ...]) -> str:
    """The numeric host of a socket address, with its zone."""
    host, zone = str(address[0]), address[3] if len(address) > 3 else 0
    return f"{host}%{_interface(zone)}" if zone and "%" not in host else host


def format_address(address: object) -> str:
    """A socket address as `host:port`."""
    if isinstance(address, tuple) and len(address) >= 2:
        return str(Address(host_of(address), int(address[1])))
    return str(address)


def _interface(number: int) -> str:
    try:
        return socket.if_indextoname(number)
    except OSError:  # it has gone
        return str(number)

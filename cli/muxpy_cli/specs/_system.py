"""Addresses as the system's calls take and give them."""

from __future__ import annotations

import socket
from typing import Any

from ._model import Address

__all__ = ["family_of", "format_address", "host_of", "socket_address"]


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

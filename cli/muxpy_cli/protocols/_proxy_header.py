"""The PROXY protocol's header, which tells a target the client's address (haproxy's doc/proxy-protocol.txt)."""

from __future__ import annotations

import ipaddress
from typing import Final, TypeAlias

__all__ = ["proxy_header"]

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""Version 2's first 12 bytes; no other protocol starts with them."""
LOCAL: Final = 0x20
"""Version 2; the target uses the connection's own addresses."""
PROXY: Final = 0x21
UNSPECIFIED: Final = 0x00
TCP4: Final = 0x11
TCP6: Final = 0x21

Peer: TypeAlias = tuple[str, int]
_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def proxy_header(version: int, client: Peer | None, local: Peer | None) -> bytes:
    """The bytes that go to the target before the client's own.

    `client` and `local` are the ends of the client's connection: its address and port, and those that it connected to.
    If one of them is None, or not an IP address and a port, as with a Unix socket, the header says that they are
    unknown (UNKNOWN, LOCAL). ValueError if `version` is neither 1 nor 2.
    """
    if version not in (1, 2):
        raise ValueError(f"the PROXY protocol has versions 1 and 2, not {version}")
    source, destination = _address(client), _address(local)
    if client is None or local is None or source is None or destination is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _binary(LOCAL, UNSPECIFIED, b"")
    if version == 1:
        return _line(source, destination, client[1], local[1])
    return _addresses(source, destination, _port(client[1]) + _port(local[1]))


def _line(source: _Ip, destination: _Ip, source_port: int, destination_port: int) -> bytes:
    # A line has one family. Text parsers disagree on ::ffff:192.0.2.1, so a mixed pair is not written as TCP6; haproxy
    # says UNKNOWN as well.
    if source.version != destination.version:
        return b"PROXY UNKNOWN\r\n"
    return f"PROXY TCP{source.version} {source} {destination} {source_port} {destination_port}\r\n".encode()


def _addresses(source: _Ip, destination: _Ip, ports: bytes) -> bytes:
    if source.version == destination.version:
        family = TCP4 if source.version == 4 else TCP6
        return _binary(PROXY, family, source.packed + destination.packed + ports)
    # In binary there is one way to write an IPv4 address as IPv6, so the client is not lost; haproxy does the same.
    return _binary(PROXY, TCP6, _mapped(source) + _mapped(destination) + ports)


def _binary(command: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(addresses).to_bytes(2, "big") + addresses


def _address(peer: Peer | None) -> _Ip | None:
    """The address, in the family that the client used; None if it or its port is invalid."""
    if peer is None or not 0 <= peer[1] <= 65535:
        return None
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])  # a zone is valid on one host only
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 clients as mapped addresses.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _mapped(address: _Ip) -> bytes:
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def _port(port: int) -> bytes:
    return port.to_bytes(2, "big")

"""Single addresses: to listen on, and to connect to."""

from __future__ import annotations

from typing import Final

from ._fields import port, split, wrong_count
from ._hosts import bind_host, host, ipv6
from ._model import Address

__all__ = ["listen_address", "parse_address", "parse_listen", "parse_stdio", "target_address"]

LOOPBACK: Final = "127.0.0.1"


def parse_listen(text: str) -> Address:
    """`[HOST:]PORT`; without a host, the loopback address. Port 0 means any free one."""
    example = "for example 4242, 0.0.0.0:4242 or [::1]:4242"
    fields = split(text, example)
    if len(fields) > 2:
        raise wrong_count("[HOST:]PORT", fields, example)
    return listen_address(fields, example)


def parse_address(text: str) -> Address:
    """`HOST:PORT` to connect to."""
    example = "for example example.org:4242 or [::1]:4242"
    fields = split(text, example)
    if len(fields) != 2:
        raise wrong_count("HOST:PORT", fields, example)
    return target_address(fields, example)


def parse_stdio(text: str) -> Address:
    """`HOST:PORT` to connect standard input and output to.

    OpenSSH's `%h:%p` becomes `::1:22` for an IPv6 host, without brackets, so that is taken as well.
    """
    name, _, number = text.rpartition(":")
    address = ipv6(name)
    if address is None:
        return parse_address(text)
    return Address(address, port(number, "for example example.org:22, [::1]:22 or ::1:22"))


def listen_address(fields: list[str], example: str) -> Address:
    """One field, a port, or two, a host and a port; to bind."""
    name = bind_host(fields[0], example) if len(fields) == 2 else LOOPBACK
    return Address(name, port(fields[-1], example, least=0))


def target_address(fields: list[str], example: str) -> Address:
    """Two fields, a host and a port; to connect to."""
    return Address(host(fields[0], example), port(fields[1], example))

"""Addresses and forwards as people write them on the command line."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = [
    "ALL_INTERFACES",
    "Address",
    "Forward",
    "SpecError",
    "check_host",
    "format_address",
    "parse_address",
    "parse_forward",
    "parse_listen",
    "parse_size",
]

ALL_INTERFACES: Final = "*"
LOOPBACK: Final = "127.0.0.1"
MAX_HOST: Final = 255
"""The longest name that DNS has."""
MAX_SIZE: Final = 2**50

# Brackets hold an IPv6 address, whose colons do not separate fields.
_FIELD = re.compile(r"\[[^\[\]]*\]|[^:\[\]]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmg])(?:i?b)?|b)?", re.IGNORECASE)


class SpecError(ValueError):
    """Says what is wrong with a spec, and what a right one looks like."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host, as a name or a number without brackets, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Forward:
    """Connections to `bind` at one end go to `target` at the other. The host of `bind` may be ALL_INTERFACES."""

    bind: Address
    target: Address


def parse_listen(text: str) -> Address:
    """`[HOST:]PORT`; without a host, the loopback address. Port 0 means any free one."""
    example = "for example 4242, 0.0.0.0:4242 or [::1]:4242"
    fields = _split(text, example)
    if len(fields) == 1:
        return Address(LOOPBACK, _port(fields[0], example, least=0))
    if len(fields) == 2:
        return Address(_bind_host(fields[0], example), _port(fields[1], example, least=0))
    raise SpecError(_wrong_count("[HOST:]PORT", fields, example))


def parse_address(text: str) -> Address:
    """`HOST:PORT` to connect to."""
    example = "for example example.org:4242 or [::1]:4242"
    fields = _split(text, example)
    if len(fields) != 2:
        raise SpecError(_wrong_count("HOST:PORT", fields, example))
    return Address(_host(fields[0], example), _port(fields[1], example))


def parse_forward(text: str) -> Forward:
    """`[bind:]port:host:hostport`, as OpenSSH has it; without a bind address, the loopback address."""
    example = "for example 8080:localhost:80 or [::1]:8080:127.0.0.1:80"
    fields = _split(text, example)
    if len(fields) == 3:
        fields.insert(0, LOOPBACK)
    if len(fields) != 4:
        raise SpecError(_wrong_count("[bind:]port:host:hostport", fields, example))
    bind, port, host, hostport = fields
    return Forward(
        Address(_bind_host(bind, example), _port(port, example, least=0)),
        Address(_host(host, example), _port(hostport, example)),
    )


def parse_size(text: str) -> int:
    """Bytes, with K, M or G for powers of 1024: `256MiB`, `64k`, `1000`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SpecError("not a size; for example 256MiB, 64K or 1000")
    power = " kmg".index((match[2] or " ").lower())
    size = float(match[1]) * 1024**power
    if size > MAX_SIZE:
        raise SpecError("the size is too large; for example 256MiB, 64K or 1000")
    return int(size)


def format_address(address: object) -> str:
    """A socket address of the system as `host:port`."""
    if isinstance(address, tuple) and len(address) >= 2:
        return str(Address(str(address[0]), int(address[1])))
    return str(address)


def check_host(host: str) -> str | None:
    """What is wrong with it as a host name or address; None if nothing is."""
    if not host:
        return "the host is missing"
    if len(host) > MAX_HOST:
        return f"the host is longer than {MAX_HOST} characters"
    if not host.isprintable() or " " in host:
        return f"{host!r} is no host name"
    return None


def _split(text: str, example: str) -> list[str]:
    fields = []
    position = 0
    while True:
        match = _FIELD.match(text, position)
        assert match is not None  # it matches the empty string
        fields.append(match[0])
        position = match.end()
        if position == len(text):
            return fields
        if text[position] != ":":
            raise SpecError(f"the brackets do not fit; {example}")
        position += 1


def _wrong_count(form: str, fields: list[str], example: str) -> str:
    if len(fields) <= form.count(":") + 1:
        return f"it takes {form}; {example}"
    looks_like_ipv6 = len(fields) >= 8 or any(not one and not other for one, other in pairwise(fields))
    return f"{'an IPv6 address needs brackets' if looks_like_ipv6 else 'too many fields'}; {example}"


def _port(text: str, example: str, least: int = 1) -> int:
    if not text:
        raise SpecError(f"the port is missing; {example}")
    if not (text.isascii() and text.isdigit()):
        raise SpecError(f"the port must be a number, not {text!r}; {example}")
    port = int(text) if len(text) < 9 else 99999  # not a number as long as the command line
    if not least <= port <= 65535:
        raise SpecError(f"the port must lie between {least} and 65535, it is {text}; {example}")
    return port


def _bind_host(text: str, example: str) -> str:
    if not text:
        raise SpecError(f"the address before the colon is missing (* means all); {example}")
    return text if text == ALL_INTERFACES else _host(text, example)


def _host(text: str, example: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise SpecError(f"{text} is not an IPv6 address; {example}") from None
    if problem := check_host(text):
        raise SpecError(f"{problem}; {example}")
    if text == ALL_INTERFACES:
        raise SpecError(f"{text} is an address to bind, not one to connect to; {example}")
    return text

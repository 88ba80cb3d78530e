"""Hosts and single addresses: names and numbers, which of them can never be, to listen on and to connect to."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from ._fields import SpecError, port, split, wrong_count
from ._model import ALL_INTERFACES, Address

__all__ = [
    "bind_host",
    "check_host",
    "host",
    "ipv6",
    "listen_address",
    "parse_address",
    "parse_listen",
    "parse_name",
    "parse_stdio",
    "target_address",
]

MAX_HOST: Final = 255
"""The longest name that DNS has, with the lengths of its labels (RFC 1035, section 2.3.4)."""
MAX_NAME: Final = 253
"""Characters of such a name as people write it, without a dot at the end."""
MAX_LABEL: Final = 63

# What resolvers let pass (glibc's res_hnok): the letters, digits and hyphens of RFC 1123, and underscores.
_POSSIBLE: Final = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBERS: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")

DEFAULT_HOST: Final = "127.0.0.1"
"""To bind, if only a port is given."""


def bind_host(text: str, example: str) -> str:
    """A host to bind; it may be ALL_INTERFACES."""
    if not text:
        # OpenSSH takes this for all interfaces. A port should not be exposed by accident.
        raise SpecError(f"the address before the colon is missing (* means all); {example}")
    return text if text == ALL_INTERFACES else host(text, example)


def host(text: str, example: str) -> str:
    """A host to connect to, without brackets. SpecError if no name service can ever know it."""
    if text.startswith("["):
        address = ipv6(text[1:-1])
        if address is None:
            raise SpecError(f"{text} is not an IPv6 address; {example}")
        return address
    if text == ALL_INTERFACES:
        raise SpecError(f"{text} is an address to bind, not one to connect to; {example}")
    if problem := check_host(text) or _impossible(text):
        raise SpecError(f"{problem}; {example}")
    return text


def parse_name(text: str) -> str:
    """A host by itself, without a port: a name, or an address with or without brackets."""
    return ipv6(text) or host(text, "for example example.org")


def ipv6(text: str) -> str | None:
    """An IPv6 address as it is shown; None if it is none. Its zone, after a %, may be anything that a name may be."""
    try:
        address = str(ipaddress.IPv6Address(text))
    except ValueError:
        return None
    return address if check_host(address) is None else None


def check_host(text: str) -> str | None:
    """What is wrong with it as a host name or address of anybody; None if nothing is.

    Proxy clients and other ends may ask for names that can never be, and hear from the resolver that there are none.
    """
    if not text:
        return "the host is missing"
    if len(text) > MAX_HOST:
        return f"the host is longer than {MAX_HOST} characters"
    if not text.isprintable() or " " in text or "/" in text:
        return f"{text!r} is no host name"
    return None


def _impossible(name: str) -> str | None:
    """Why no such name can ever resolve; None if it might. Waiting for it would never end."""
    plain = name.removesuffix(".")
    labels = plain.split(".")
    if not all(labels):
        return f"{name!r} has a dot too many: one stands between two parts of a name"
    if max(map(len, labels)) > MAX_LABEL:
        return f"the name has a part of more than {MAX_LABEL} characters between its dots, which no name has"
    try:
        ascii_name = plain.encode("idna").decode("ascii")  # as getaddrinfo is asked for it
    except UnicodeError:
        return f"{name!r} is no host name, not even an international one"
    if len(ascii_name) > MAX_NAME:
        return f"the name is longer than {MAX_NAME} characters"
    if not _POSSIBLE.fullmatch(ascii_name):
        return f"{name!r} is no host name, which has letters, digits, hyphens and dots"
    if _NUMBERS.fullmatch(ascii_name) and not _is_ipv4(ascii_name):
        return f"{name} is not an IPv4 address"
    return None


def _is_ipv4(text: str) -> bool:
    """Whether getaddrinfo takes it for one: it knows more ways to write them than `ipaddress` does."""
    try:
        socket.inet_aton(text)
    except OSError:
        return False
    return True


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
    name = bind_host(fields[0], example) if len(fields) == 2 else DEFAULT_HOST
    return Address(name, port(fields[-1], example, least=0))


def target_address(fields: list[str], example: str) -> Address:
    """Two fields, a host and a port; to connect to."""
    return Address(host(fields[0], example), port(fields[1], example))

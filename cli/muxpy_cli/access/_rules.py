"""Allow-list rules: what may be reached from the listening end, and what may be bound there.

A rule is about the address that is connected to. A name is resolved once, the rules are asked about the result, and
that address is used: with a second lookup, whoever runs the name's DNS could change the answer in between.

Without rules, only the loopback addresses are allowed, which a first try needs, and no Unix sockets: a network behind
the machine, or `docker.sock`, must be meant. Rules replace this default rather than add to it, and no rule forbids
anything. So their order does not matter, and a list says all there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from ._addresses import is_mapped, is_numeric, parse_ip, parse_network
from ._patterns import AnyHost, Localhost, Name, Network, PathPattern, Ports, plain_path

if TYPE_CHECKING:
    from ._patterns import HostPattern

__all__ = [
    "BindRule",
    "RuleError",
    "TargetRule",
    "default_bind_rules",
    "default_target_rules",
    "parse_bind_rule",
    "parse_target_rule",
]

MAX_RULE: Final = 1024
"""Characters; a host name has at most 255, and the path of a Unix socket 108."""
MAX_PORT: Final = 65535

_UNIX: Final = "unix:"
_LABEL: Final = re.compile(r"[a-z0-9_*](?:[a-z0-9_*-]*[a-z0-9_*])?", re.IGNORECASE)
_MOSTLY_NUMBER: Final = re.compile(r"[.*]*\d[\d.*]*")
_TARGET_EXAMPLE: Final = "for example db.internal:5432, *.example.org:443, 10.0.0.0/8:* or [fd00::/8]:8000-8099"
_BIND_EXAMPLE: Final = "for example localhost:8000-8099, 10.0.0.5:0 or *:8080"
_PATH_EXAMPLE: Final = "for example unix:/run/app/*.sock"


class RuleError(ValueError):
    """Says what is wrong with a rule, and what a right one looks like."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Hosts and ports, or paths; never both."""

    text: str
    """As it was written."""
    host: HostPattern | None = None
    ports: Ports | None = None
    path: PathPattern | None = None

    def allows_path(self, path: str) -> bool:
        """Whether it covers the Unix socket at `path`. Symbolic links are not followed: the text decides."""
        return self.path is not None and self.path.matches(path)

    def may_allow(self, host: str, port: int) -> bool:
        """Whether it could cover `host`, a name, wherever that leads."""
        return self.host is not None and self.host.may_match(host) and port in (self.ports or ())

    def _covers(self, host: str, address: str, port: int) -> bool:
        ip = parse_ip(address)
        if ip is None or self.host is None or self.ports is None:
            return False
        return port in self.ports and self.host.matches(host, ip)


@dataclass(frozen=True, slots=True)
class TargetRule(_Rule):
    """Targets that connections may reach (-L, -D and the HTTP proxy)."""

    def allows(self, host: str, address: str, port: int) -> bool:
        """Whether it covers the numeric `address` to which the requested `host` has led."""
        if isinstance(self.host, Name) and is_mapped(address):
            return False
        return self._covers(host, address, port)

    def names(self, host: str, port: int) -> bool:
        """Whether it would cover `host` by its name, if that led to an ordinary address."""
        return isinstance(self.host, Name) and self.may_allow(host, port)


@dataclass(frozen=True, slots=True)
class BindRule(_Rule):
    """Addresses and ports that the other end may bind (-R)."""

    def allows(self, address: str, port: int) -> bool:
        """Whether it covers the numeric `address`. Port 0 is one that the system picks; `*` is all addresses."""
        if address == "*":
            return isinstance(self.host, AnyHost) and port in (self.ports or ())
        return self._covers(address, address, port)


def parse_target_rule(text: str) -> TargetRule:
    """`HOST:PORT` or `unix:/path`. Raises RuleError.

    HOST is a name, a pattern of names, an address, a CIDR block (IPv6 in brackets) or `*`, PORT a number, a range
    or `*`. `*` stands for characters within one label of a name, or one part of a path.
    """
    text = _check(text)
    if text.startswith(_UNIX):
        return TargetRule(text, path=_path(text))
    host, ports = _split(text, _TARGET_EXAMPLE)
    return TargetRule(text, _host(host, _TARGET_EXAMPLE), _ports(ports, 1, _TARGET_EXAMPLE))


def parse_bind_rule(text: str) -> BindRule:
    """`ADDRESS:PORT` or `unix:/path`. Raises RuleError.

    ADDRESS is an address, a CIDR block (IPv6 in brackets), `localhost` or `*`, PORT as for a target; 0 is the
    permission to have the system pick one.
    """
    text = _check(text)
    if text.startswith(_UNIX):
        return BindRule(text, path=_path(text))
    address, ports = _split(text, _BIND_EXAMPLE)
    pattern = _host(address, _BIND_EXAMPLE)
    if isinstance(pattern, Name):
        raise RuleError(f"{address} is a name, and only addresses and localhost can be bound; {_BIND_EXAMPLE}")
    return BindRule(text, pattern, _ports(ports, 0, _BIND_EXAMPLE))


def default_target_rules() -> tuple[TargetRule, ...]:
    """The loopback addresses, all ports; no Unix sockets."""
    return parse_target_rule("127.0.0.0/8:*"), parse_target_rule("[::1]:*")


def default_bind_rules() -> tuple[BindRule, ...]:
    """The loopback addresses, all ports; no Unix sockets."""
    return parse_bind_rule("127.0.0.0/8:*"), parse_bind_rule("[::1]:*")


def _check(text: str) -> str:
    text = text.strip()
    if len(text) > MAX_RULE:
        raise RuleError(f"the rule is longer than {MAX_RULE} characters")
    if not text.isprintable():
        raise RuleError(f"{text!r} has characters that cannot be printed")
    return text


def _path(text: str) -> PathPattern:
    path = text.removeprefix(_UNIX)
    plain = plain_path(path)
    if plain is None:
        wrong = "must not contain '..'" if ".." in path else "must be absolute, and not the root"
        raise RuleError(f"the path of a Unix socket {wrong}; {_PATH_EXAMPLE}")
    return PathPattern.compile(plain)


def _split(text: str, example: str) -> tuple[str, str]:
    """The host, with its brackets, and the port."""
    if text.startswith("/"):
        raise RuleError(f"a Unix socket is written unix:{text}")
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        raise RuleError(f"the port is missing (* means all); {example}")
    if not host:
        raise RuleError(f"the host is missing (* means all); {example}")
    if ":" in host and not host.startswith("["):
        raise RuleError(f"an IPv6 address needs brackets; {example}")
    return host, port


def _host(text: str, example: str) -> HostPattern:
    if text == "*":
        return AnyHost()
    if text.startswith("["):
        return _ipv6(text, example)
    if text.lower().removesuffix(".") == "localhost":
        return Localhost()
    # Most of what looks like a number is a mistake, not a name that happens to: 10.0.0.* for 10.0.0.0/24.
    if "/" in text or is_numeric(text) or _MOSTLY_NUMBER.fullmatch(text):
        return _network(text, text, example)
    return _name(text, example)


def _ipv6(text: str, example: str) -> Network:
    inner = text[1:-1]
    if not text.endswith("]") or ":" not in inner:
        raise RuleError(f"{text} is not an IPv6 address in brackets; {example}")
    if "%" in inner:
        raise RuleError(f"{text}: leave the zone (%...) out; {example}")
    return _network(inner, text, example)


def _network(text: str, shown: str, example: str) -> Network:
    try:
        return Network(parse_network(text))
    except ValueError as error:
        if "host bits set" in str(error):
            block = str(ip_network(text, strict=False))
            right = f"[{block}]" if ":" in block else block
            raise RuleError(f"{shown} has bits beyond its prefix: write {right}, or the address alone") from None
        raise RuleError(f"{shown} is neither an address nor a block of them like 10.0.0.0/8; {example}") from None


def _name(text: str, example: str) -> Name:
    if not text.isascii():
        raise RuleError(f"{text}: write the name in its ASCII form (xn--...), which is what DNS knows")
    if not all(_LABEL.fullmatch(label) for label in text.removesuffix(".").split(".")):
        raise RuleError(f"{text} is no host name; {example}")
    return Name.compile(text)


def _ports(text: str, least: int, example: str) -> Ports:
    if text == "*":
        return Ports(least, MAX_PORT)
    first, dash, last = text.partition("-")
    ports = Ports(_port(first, least, example), _port(last if dash else first, least, example))
    if ports.first > ports.last:
        raise RuleError(f"the range {text} is empty: the lower port comes first; {example}")
    return ports


def _port(text: str, least: int, example: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= MAX_PORT):
        raise RuleError(f"the port must be a number between {least} and {MAX_PORT}, not {text!r}; {example}")
    return int(text)

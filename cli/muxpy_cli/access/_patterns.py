"""What the parts of a rule match: hosts, ports, paths."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ._addresses import UNSPECIFIED, carried_by, is_numeric, is_own, is_special

if TYPE_CHECKING:
    from ._addresses import Ip, IpNetwork

__all__ = ["AnyHost", "HostPattern", "Localhost", "Name", "Network", "PathPattern", "Ports", "plain_path"]


class HostPattern(Protocol):
    """The part of a rule before the port."""

    def matches(self, host: str, ip: Ip) -> bool:
        """Whether it covers `ip`, to which the requested `host` has led."""

    def may_match(self, host: str) -> bool:
        """Whether it could cover `host`, a name, wherever that leads."""


@dataclass(frozen=True, slots=True)
class AnyHost:
    """`*`: any address of any kind."""

    def matches(self, host: str, ip: Ip) -> bool:
        return True

    def may_match(self, host: str) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Network:
    """An address or a CIDR block. What was asked for does not count, only where it leads."""

    network: IpNetwork

    def matches(self, host: str, ip: Ip) -> bool:
        # 0.0.0.0 lies in 0.0.0.0/4, say, but leads to 127.0.0.1, which does not: it must be named itself.
        if ip in UNSPECIFIED:
            return self.network.num_addresses == 1 and ip == self.network.network_address
        return ip in self.network

    def may_match(self, host: str) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Localhost:
    """`localhost`: the loopback addresses, which RFC 6761 makes it mean, whatever a hosts file says."""

    def matches(self, host: str, ip: Ip) -> bool:
        return ip.is_loopback

    def may_match(self, host: str) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Name:
    """A name, with `*` for any characters within a label: `*.example.org` is neither example.org nor a.b.example.org.

    It matches the name that was asked for. The owner of its DNS chooses where it leads, so it does not match if that is
    a special address, or one of this machine's own.
    Non-ASCII names match nothing: it would take the very IDNA of the resolver to know which name they are.
    """

    pattern: re.Pattern[str]

    @classmethod
    def compile(cls, text: str) -> Name:
        return cls(_wildcards(_plain_name(text), "."))

    def matches(self, host: str, ip: Ip) -> bool:
        return self.may_match(host) and not is_special(ip) and not _leads_home(ip)

    def may_match(self, host: str) -> bool:
        return host.isascii() and not is_numeric(host) and self.pattern.fullmatch(_plain_name(host)) is not None


def _leads_home(ip: Ip) -> bool:
    return is_own(str(ip)) or ((carried := carried_by(ip)) is not None and is_own(str(carried)))


@dataclass(frozen=True, slots=True)
class Ports:
    """From `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A path with `*` for any characters within one of its parts."""

    pattern: re.Pattern[str]

    @classmethod
    def compile(cls, text: str) -> PathPattern:
        return cls(_wildcards(text, "/"))

    def matches(self, path: str) -> bool:
        plain = plain_path(path)
        return plain is not None and self.pattern.fullmatch(plain) is not None


def plain_path(path: str) -> str | None:
    """The absolute path without `//` and `/./`; None if it is relative, `/` itself, or has `..` or a NUL.

    `..` is not resolved: behind a symbolic link it leads elsewhere than the text says.
    """
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        return None
    parts = posixpath.normpath(path).lstrip("/")  # POSIX lets two slashes at the start stand
    return f"/{parts}" if parts else None


def _plain_name(name: str) -> str:
    return name.lower().removesuffix(".")


def _wildcards(text: str, separator: str) -> re.Pattern[str]:
    """What is between stars is taken where it first fits. Backtracking would let a hostile name take time."""
    within = f"[^{re.escape(separator)}]*"
    head, *rest = re.split(r"\*+", text)
    if not rest:
        return re.compile(re.escape(head))
    *middle, tail = rest
    lazy = "".join(f"(?>{within}?{re.escape(part)})" for part in middle)
    return re.compile(f"{re.escape(head)}{lazy}{within}{re.escape(tail)}", re.DOTALL)

"""Addresses and forwards as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

__all__ = ["ALL_INTERFACES", "Address", "Direction", "Endpoint", "Forward", "Kind", "UnixPath"]

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

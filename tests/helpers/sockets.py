"""TCP connections over IPv4, as the kernel lists them: Documentation/networking/proc_net_tcp."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TcpSocket", "tcp_sockets", "tcp_sockets_of"]


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One end of a connection, or a socket that listens."""

    ports: tuple[int, int]
    """This end's, and the other end's."""
    state: str
    unread: int
    """Bytes that have come, and that the process has not read; connections that wait, of one that listens."""
    asks: bool
    """Whether its keepalive timer runs."""
    inode: str

    @property
    def listens(self) -> bool:
        """Whether it takes connections."""
        return self.state == "0A"

    @property
    def established(self) -> bool:
        """Whether it is a connection, and neither end has closed."""
        return self.state == "01"


def tcp_sockets() -> list[TcpSocket]:
    """Those of this network namespace."""
    return [_parsed(line.split()) for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def tcp_sockets_of(pid: int) -> list[TcpSocket]:
    """Those of one process."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return [one for one in tcp_sockets() if one.inode in inodes]


def _parsed(row: list[str]) -> TcpSocket:
    local, remote = (int(row[column].partition(":")[2], 16) for column in (1, 2))
    return TcpSocket((local, remote), row[3], int(row[4].partition(":")[2], 16), row[5].startswith("02:"), row[9])

"""Whether the kernel paces a connection: BBR does, which not every system has."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from muxpy.transport import _socket

if TYPE_CHECKING:
    import pytest
    import trio

__all__ = ["congestion_of", "pace_by_default"]


def pace_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what this system uses by default count as what paces."""
    with socket.socket() as one:
        monkeypatch.setattr(_socket, "PACED", congestion_of(one))


def congestion_of(one: socket.socket | trio.socket.SocketType) -> bytes:
    """The congestion control of a socket of TCP."""
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")

"""What a contender is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import trio

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import muxpy

__all__ = ["HOST", "Client", "Contender", "Opener", "Ports", "report"]

HOST: Final = "127.0.0.1"

Opener: TypeAlias = Callable[[], Awaitable[trio.abc.HalfCloseableStream]]
Ports: TypeAlias = dict[str, int]
"""What a server says about itself: its "port", "plain" if it has a port for plain TCP too, and "near" and "far" if it
is a tunnel: the processes of its ends, the one that clients connect to and the other."""


@dataclass(frozen=True, slots=True)
class Client:
    """How a workload reaches the server."""

    open: Opener
    session: muxpy.Session | None = None
    port: int | None = None
    """Where plain TCP reaches the server, for programs that connect by themselves."""

    def own_session(self) -> muxpy.Session:
        """The session, for workloads that need one."""
        if self.session is None:
            raise ValueError("this workload needs a session")
        return self.session

    def own_port(self) -> int:
        """The port, for workloads that start a program of their own."""
        if self.port is None:
            raise ValueError("this workload needs a port")
        return self.port


class Contender(Protocol):
    """One way to carry streams."""

    def missing(self) -> str | None:
        """What this machine lacks for it; None if nothing."""

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        """Listen, report the ports, and serve until cancelled."""

    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        """Reach the server at `port`."""


def report(listeners: list[trio.SocketListener]) -> Ports:
    """The port of a server that listens on one."""
    return {"port": listeners[0].socket.getsockname()[1]}

"""What the forwarders have in common: a server behind them, and plain TCP to reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from ._base import Client, Contender, Ports
from .plain import Tcp

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["Forwarding", "NoTunnel", "Target"]


class Target(Protocol):
    """What serves behind a forwarder."""

    def missing(self) -> str | None:
        """What this machine lacks for it; None if nothing."""

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        """Listen, report the port, and serve until cancelled."""


class Forwarding(Contender):
    """A server, reached through a forwarder that has processes of its own."""

    def __init__(self, target: Target | None = None) -> None:
        self._target = target or Tcp()

    def missing(self) -> str | None:
        return self.forwarder_missing() or self._target.missing()

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            target = await nursery.start(self._target.serve)
            task_status.started(await nursery.start(self.forward, target["port"]))

    def forwarder_missing(self) -> str | None:
        """What this machine lacks for the forwarder itself; None if nothing."""
        raise NotImplementedError

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        """Forward a free port to `target`, report it and the processes of both ends, and go on until cancelled."""
        raise NotImplementedError

    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        return Tcp().connect(port)


class NoTunnel(Forwarding):
    """The server itself, without a forwarder: the upper limit."""

    def forwarder_missing(self) -> str | None:
        return None

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        task_status.started({"port": target})
        await trio.sleep_forever()

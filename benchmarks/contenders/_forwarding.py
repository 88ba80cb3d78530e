"""What the forwarders have in common: a plain TCP server behind them, and plain TCP to reach them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

from ._base import HOST, Client, Contender, Ports
from .plain import Tcp

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["Forwarding", "free_port", "until_listening"]

START_TIMEOUT: Final = 15.0
"""Seconds that a forwarder gets to take its first connection."""


class Forwarding(Contender):
    """A server of plain TCP, in this process, reached through a forwarder that has processes of its own."""

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            target = await nursery.start(Tcp().serve)
            task_status.started(await nursery.start(self.forward, target["port"]))

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        """Forward a free port to `target`, report it, and go on until cancelled."""
        raise NotImplementedError

    def connect(self, port: int) -> AbstractAsyncContextManager[Client]:
        return Tcp().connect(port)


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot pick one and say which."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def until_listening(port: int) -> None:
    """Wait until someone takes connections at `port`; trio.TooSlowError if that takes too long."""
    with trio.fail_after(START_TIMEOUT):
        while True:
            try:
                stream = await trio.open_tcp_stream(HOST, port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return

"""Health: whether services can do their work, which the program says and callers ask."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - a service's hints are read when the program runs
from enum import Enum
from typing import Protocol

import trio

from ._call import current_call
from ._service import idempotent, service

__all__ = ["Health", "HealthService", "HealthStatus"]


class HealthStatus(Enum):
    """What is known of a service."""

    SERVING = "serving"
    NOT_SERVING = "not_serving"
    UNKNOWN = "unknown"
    """Nobody has said anything of a service of this name."""


@service
class Health(Protocol):
    """Whether the services here can do their work. The name "" stands for all of them together."""

    @idempotent
    async def check(self, name: str = "") -> HealthStatus:
        """The present state of a service."""
        ...

    def watch(self, name: str = "") -> AsyncIterator[HealthStatus]:
        """The present state of a service, and each later one, until this side takes no more calls."""
        ...


class HealthService(Health):
    """What a program serves `Health` with, and says there what is true:

        health = rpc.HealthService()
        await rpc.serve(session, [MyCalculator(), health])

        health.set("Calculator", rpc.HealthStatus.NOT_SERVING)

    One object is for all sessions. The name "" is serving from the beginning; any other is unknown until it is set.
    """

    def __init__(self) -> None:
        self._states = {"": HealthStatus.SERVING}
        self._changed = trio.lowlevel.ParkingLot()

    def set(self, name: str, status: HealthStatus) -> None:
        """Say what is true of a service from now on. Those who watch it are told, the latest only if they are slow."""
        self._states[name] = status
        self._changed.unpark_all()

    async def check(self, name: str = "") -> HealthStatus:
        """See `Health`."""
        return self._states.get(name, HealthStatus.UNKNOWN)

    async def watch(self, name: str = "") -> AsyncIterator[HealthStatus]:
        """See `Health`."""
        told = None
        while True:
            status = await self.check(name)
            if status is not told:
                told = status
                yield status
            elif not await self._change():
                return

    async def _change(self) -> bool:
        """Wait for one. False if there will be none: a call that never ends must not keep a session from ending."""
        session, over = current_call().session, False
        assert session is not None

        async with trio.open_nursery() as nursery:

            async def end() -> None:
                nonlocal over
                await session.wait_closing()
                over = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(end)
            await self._changed.park()
            nursery.cancel_scope.cancel()
        return not over

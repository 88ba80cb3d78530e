"""What forwarded connections cost a tunnel while they do nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import trio

from ..family import family, resident
from ._base import Figures, Job, echo_once, message

if TYPE_CHECKING:
    from benchmarks.contenders import Client

__all__ = ["connections"]

SETTLED: Final = 0.5
"""Seconds after the last exchange in which the ends may free what they held for it."""


async def connections(client: Client, job: Job) -> Figures:
    """Open `connections`, have each carry an echo of `size` bytes, and leave them: the memory that the processes of
    both ends hold, `near` the one that was connected to."""
    async with AsyncExitStack() as stack:
        for _ in range(job["connections"]):
            stream = await stack.enter_async_context(await client.open())
            await echo_once(stream, message(job["size"]), request=b"e")
        await trio.sleep(SETTLED)
        return {end: sum(map(resident, family(job[end]))) for end in ("near", "far")}

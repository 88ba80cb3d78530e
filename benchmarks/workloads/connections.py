"""What forwarded connections cost a tunnel while they do nothing."""

from __future__ import annotations

import resource
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

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
        return {end: sum(map(_resident, _family(job[end]))) for end in ("near", "far")}


def _family(pid: int) -> list[int]:
    """A process and all its children: sshd has one for each client."""
    children = [
        int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()

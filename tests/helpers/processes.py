"""Processes that last as long as a block, what they say, and what they hold."""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["Output", "descriptors", "resident", "started"]


@asynccontextmanager
async def started(command: Sequence[str | Path], **options: Any) -> AsyncIterator[trio.Process]:  # noqa: ANN401
    """A process with its standard output to read, killed at the end of the block if it still runs; `options` are those
    of `subprocess.Popen`."""
    process = await trio.lowlevel.open_process(command, **{"stdout": subprocess.PIPE, **options})
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await pipe.aclose()


class Output:
    """What a process writes to a pipe, read all the time: it never waits for us."""

    def __init__(self, pipe: trio.abc.ReceiveStream | None) -> None:
        assert pipe is not None
        self.text = ""
        self._pipe = pipe
        self._ended = False
        self._news = trio.lowlevel.ParkingLot()

    async def read(self) -> None:
        """Until it ends."""
        async for chunk in self._pipe:
            self.text += chunk.decode()
            self._news.unpark_all()
        self._ended = True
        self._news.unpark_all()

    async def said(self, *words: str, times: int = 1) -> str:
        """Wait for a line with all these words, the `times`-th one."""
        while True:
            complete = self.text[: self.text.rfind("\n") + 1].splitlines()
            found = [line for line in complete if all(word in line for word in words)]
            if len(found) >= times:
                return found[times - 1]
            assert not self._ended, f"ended without {words}:\n{self.text}"
            await self._news.park()

    async def ended(self) -> None:
        """Wait until everything was read."""
        while not self._ended:
            await self._news.park()


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))

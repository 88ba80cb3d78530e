"""asyncssh, SSH in Python: a server and a client process that forward to a server of plain TCP.

It runs on asyncio, so both are programs of their own.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import trio

from ._forwarding import Forwarding

if TYPE_CHECKING:
    from ._base import Ports

__all__ = ["AsyncSsh"]

PROGRAM: Final = "benchmarks.contenders._asyncssh_end"


class AsyncSsh(Forwarding):
    def missing(self) -> str | None:
        return None if importlib.util.find_spec("asyncssh") else "asyncssh not found (pip install asyncssh)"

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            server_port = await nursery.start(_run, "server")
            task_status.started({"port": await nursery.start(_run, "client", str(server_port), str(target))})


async def _run(*arguments: str, task_status: trio.TaskStatus[int]) -> None:
    process: trio.Process = await trio.lowlevel.open_process(
        [sys.executable, "-m", PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = await process.stdout.receive_some()
        if not line:
            raise OSError(f"the asyncssh {arguments[0]} did not start")
        task_status.started(int(line))
        raise OSError(f"the asyncssh {arguments[0]} ended by itself, with status {await process.wait()}")
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()

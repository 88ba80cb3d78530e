"""asyncssh, SSH in Python: a server and a client process that forward to a server of plain TCP or another.

It runs on asyncio, so both are programs of their own.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING, Final

import trio

from ._forwarding import Forwarding
from ._programs import keep_running

if TYPE_CHECKING:
    from ._base import Ports

__all__ = ["AsyncSsh"]

END: Final = (sys.executable, "-m", "benchmarks.contenders._asyncssh_end")
PORT: Final = re.compile(r"^(\d+)\n", re.MULTILINE)


class AsyncSsh(Forwarding):
    def forwarder_missing(self) -> str | None:
        return None if importlib.util.find_spec("asyncssh") else "asyncssh not found (pip install asyncssh)"

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        async with trio.open_nursery() as nursery:
            far = await nursery.start(keep_running, (*END, "server"), PORT)
            near = await nursery.start(keep_running, (*END, "client", str(far.said), str(target)), PORT)
            task_status.started({"port": near.said, "near": near.pid, "far": far.pid})

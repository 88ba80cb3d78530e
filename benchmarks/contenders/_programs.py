"""Programs that serve until they are ended: starting them, and waiting until they listen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from ..family import family
from ._base import HOST

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

__all__ = ["Running", "free_port", "keep_running", "until_listening"]

START_TIMEOUT: Final = 15.0
"""Seconds that a server gets to take its first connection."""

REMEMBERED: Final = 4096
"""Bytes of a program's output that are kept, to show them if it fails."""


@dataclass(frozen=True, slots=True)
class Running:
    """A program that runs."""

    pid: int
    said: int = 0
    """The number that the program was expected to print, usually its port."""


async def keep_running(
    command: Sequence[str], says: re.Pattern[str] | None = None, *, task_status: trio.TaskStatus[Running]
) -> None:
    """Run a program that ends only when it is told to, or by a failure. It has started once it `says` that number, if
    given. Its stdin ends with this process."""
    process: trio.Process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        if says is None:
            task_status.started(Running(process.pid))
        output = b""
        async for data in process.stdout:  # to the end: a full pipe would stop it
            output = (output + data)[-REMEMBERED:]
            if says is not None and (match := says.search(output.decode(errors="replace"))):
                task_status.started(Running(process.pid, int(match[1])))
                says = None
        status = await process.wait()
        name = " ".join((Path(command[0]).name, *command[1:4]))
        raise OSError(f"{name} ended by itself, with status {status}: {_last_line(output)}")
    finally:
        if process.returncode is None:
            for member in family(process.pid):  # granian's workers would go on without it
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot pick one and say which."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def until_listening(port: int) -> None:
    """Wait until a server accepts connections at `port`; trio.TooSlowError if that takes too long."""
    with trio.fail_after(START_TIMEOUT):
        while True:
            try:
                stream = await trio.open_tcp_stream(HOST, port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return

"""Starts the ends of a measurement as processes, and ends them whatever happens.

Each process has a session (setsid) of its own, so that Ctrl-C reaches only the program that started it. It ends when
that program closes its stdin, or dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["RunError", "run", "serving"]

ROOT: Final = Path(__file__).parent.parent

START_TIMEOUT: Final = 120.0
"""Seconds until a server says where it listens: generous, since a busy machine starts processes slowly."""
END_TIMEOUT: Final = 5.0
"""Seconds between the end of stdin and a kill. A forwarder ends its own processes in this time."""


class RunError(Exception):
    """A process failed; the message is what it printed."""


@asynccontextmanager
async def serving(command: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    """Run a server; the value is what it says about itself in its first line."""
    with tempfile.TemporaryFile() as errors:
        process: trio.Process = await _start(command, errors)
        try:
            line = {}
            with trio.move_on_after(START_TIMEOUT):
                line = await _first_line(process)
            if not line:
                raise RunError(_last_words(errors) or "the server did not start")
            yield line
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)


async def run(command: Sequence[str], timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - says whose it is
    """Run a client to its end, and return its figures."""
    with tempfile.TemporaryFile() as errors:
        process = await _start(command, errors)
        assert process.stdout is not None
        try:
            with trio.fail_after(timeout):
                output = b"".join([data async for data in process.stdout])
                status = await process.wait()
        except trio.TooSlowError:
            raise RunError(f"not done after {timeout:.0f} s") from None
        finally:
            with trio.CancelScope(shield=True):
                await _kill(process)
        if status != 0:
            raise RunError(_last_words(errors) or f"ended with status {status}")
        figures: dict[str, Any] = json.loads(output)
        return figures


async def _start(command: Sequence[str], errors: IO[bytes]) -> trio.Process:
    process: trio.Process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, start_new_session=True
    )
    return process


async def _first_line(process: trio.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some()
        if not data:
            return {}
        line += data
    answer: dict[str, Any] = json.loads(line)
    return answer


async def _end(process: trio.Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with trio.move_on_after(END_TIMEOUT):
        await process.wait()
    await _kill(process)


async def _kill(process: trio.Process) -> None:
    """Kill the process and those that it has started: it had no time to end them."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

"""Programs of others: which a test needs, servers that run as long as a block, and commands that run to their end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
import trio

from tests.helpers.tasks import LIMIT

from ..program import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST: Final = "127.0.0.1"

SERVER_PLACES: Final = ("/usr/sbin", "/usr/local/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin")))
"""Where Debian puts what is seldom on a user's PATH."""

# Proxies of this machine's own would get the requests that are meant for ours, or take them from it.
CLEAN: Final = {key: value for key, value in ENVIRONMENT.items() if not key.lower().endswith("_proxy")}


def find(name: str) -> str | None:
    """The path of a program; None if this machine has it not."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_PLACES]))


def require(package: str, *names: str) -> None:
    """Skip the test where these programs are missing, or fail it if live peers are required. `package` is Debian's."""
    if missing := [name for name in names if find(name) is None]:
        reason = f"{', '.join(missing)} not found (Debian: apt install {package})"
        if os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


async def run(*command: str, stdin: bytes = b"", check: bool = True, **variables: str) -> Done:
    """Run a command to its end; with `check`, it must succeed."""
    done = await trio.run_process(
        [find(command[0]) or command[0], *command[1:]],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**CLEAN, **variables},
    )
    result = Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    assert not check or result.code == 0, f"{' '.join(command)[:300]}: {result}"
    return result


async def curl(*arguments: str, check: bool = True) -> Done:
    """curl, which says what goes wrong but shows no progress."""
    return await run("curl", "-q", "--silent", "--show-error", "--max-time", f"{LIMIT:.0f}", *arguments, check=check)


async def muxpy(*arguments: str, check: bool = True, **variables: str) -> Done:
    """The program to its end."""
    return await run(sys.executable, "-m", "muxpy_cli", *arguments, stdin=b"", check=check, **variables)


@contextmanager
def serving(
    command: Sequence[str],
    log: Path,
    *,
    port: int | None = None,
    says: str | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGKILL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server as long as the block, from when it takes connections at `port` or `says` a text in its output."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [find(command[0]) or command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=CLEAN,
            user=user,
            extra_groups=None if user is None else [],
        )
    try:
        _wait_until_ready(process, log, port, says)
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(LIMIT)
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, port: int | None, says: str | None) -> None:
    limit = time.monotonic() + LIMIT
    while not (_takes_connections(port) if port is not None else _has_said(log, says or "")):
        text = f"{process.args!r}: {log.read_text(errors='replace')}"
        assert process.poll() is None, f"ended by itself: {text}"
        assert time.monotonic() < limit, f"not ready in time: {text}"
        time.sleep(0.02)  # nothing to wait for: these programs do not tell when they listen


def _takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _has_said(log: Path, text: str) -> bool:
    return re.search(text, log.read_text(errors="replace")) is not None

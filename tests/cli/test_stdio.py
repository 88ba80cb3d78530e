"""-W: what becomes of standard input and output."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.helpers.processes import started
from tests.helpers.tasks import LIMIT

from .program import COMMAND, ENVIRONMENT, Program, Server, closed_port, echo, receive_all, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.mark.parametrize("reached", [True, False])
async def test_one_descriptor_for_both_is_left_as_it_was(reached: bool) -> None:
    with trio.fail_after(LIMIT), closed_port() as nowhere:
        async with Server(echo) as target, running("listen", "0") as listening:
            address = f"127.0.0.1:{await listening.port('listening on')}"
            near, far = socket.socketpair()
            with near, far:  # as a terminal has it: what one process sets holds for all who share it
                near.sendall(b"ping")
                near.shutdown(socket.SHUT_WR)
                where = target.port if reached else nowhere
                done = await trio.run_process(
                    [*COMMAND, "connect", address, "-W", f"localhost:{where}"],
                    stdin=far.fileno(),
                    stdout=far.fileno(),
                    capture_stderr=True,
                    check=False,
                    env=ENVIRONMENT,
                )
                assert done.returncode == (0 if reached else 1), done.stderr
                assert os.get_blocking(far.fileno())
                if reached:
                    assert near.recv(100) == b"ping"


class Target:
    """What -W leads to: it says a part, and waits for the rest of what it is told."""

    def __init__(self) -> None:
        self.was_reset = trio.Event()

    async def __call__(self, stream: trio.SocketStream) -> None:
        await stream.send_all(b"part")
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(stream)
        self.was_reset.set()


@asynccontextmanager
async def half_way(*listen: str) -> AsyncIterator[tuple[Program, trio.Process, Target]]:
    """The listening end, and `-W` in the middle of a transfer both ways."""
    target = Target()
    async with Server(target) as server, running("listen", "0", *listen) as listening:
        address = f"127.0.0.1:{await listening.port('listening on')}"
        command = [*COMMAND, "connect", address, "-W", f"localhost:{server.port}"]
        options = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT}
        async with started(command, **options) as process:
            assert process.stdio is not None
            await process.stdio.send_all(b"part")
            assert await process.stdio.receive_some() == b"part"
            yield listening, process, target


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_what_a_signal_cuts_is_no_success(number: signal.Signals) -> None:
    """`muxpy connect ... -W db:5432 > dump && use dump` must not use a part."""
    with trio.fail_after(LIMIT):
        async with half_way() as (_, process, target):
            process.send_signal(number)
            assert await process.wait() == 128 + number
            await target.was_reset.wait()


async def test_what_the_other_ends_drain_cuts_is_no_success() -> None:
    with trio.fail_after(LIMIT):
        async with half_way("--drain", "0") as (listening, process, target):
            assert await listening.end() == 0
            assert await process.wait() == 1
            await target.was_reset.wait()
            assert process.stderr is not None
            assert b"it was reset" in await process.stderr.receive_some()


@pytest.mark.parametrize(
    ("redirected", "code", "message"),
    [
        ("</dev/null <&-", 2, "-W carries standard input, and that is closed: < /dev/null sends nothing"),
        ("</dev/null >&-", 2, "-W carries standard output, and that is closed: > /dev/null throws away what comes"),
        ("</proc/self/mem >/dev/null", 1, "standard input: input/output error"),
        ("</dev/null >/dev/full", 1, "standard output: no space left on device"),
    ],
)
async def test_standard_streams_that_cannot_be_used_are_named(redirected: str, code: int, message: str) -> None:
    async def target(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"x")
            await stream.receive_some()

    command = "sh", "-c", f'"$@" {redirected}', "sh", *COMMAND, "connect"
    with trio.fail_after(LIMIT):
        async with Server(target) as server, running("listen", "0") as listening:
            address = f"127.0.0.1:{await listening.port('listening on')}"
            done = await trio.run_process(
                [*command, address, "-W", f"localhost:{server.port}"],
                capture_stderr=True,
                check=False,
                env=ENVIRONMENT,
            )
            assert (done.returncode, done.stderr.decode()) == (code, f"muxpy: {message}\n")

"""-W: what becomes of standard input and output."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from tests.helpers.tasks import LIMIT

from .program import COMMAND, ENVIRONMENT, Server, closed_port, echo, running


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

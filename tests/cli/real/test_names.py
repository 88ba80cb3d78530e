"""Names with several addresses, in a hosts file that both ends have."""

from __future__ import annotations

import errno
import socket
import subprocess
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.helpers import processes
from tests.helpers.tasks import LIMIT

from ..program import COMMAND, Program, Server, echo
from ._places import with_hosts
from ._programs import CLEAN, muxpy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
DEAD, REFUSING = "127.0.0.66", "127.0.0.67"


@contextmanager
def dead(port: int) -> Iterator[None]:
    """An address that drops what comes, since nobody takes the connections that fill its queue."""
    with ExitStack() as stack:
        one = stack.enter_context(socket.socket())
        one.bind((DEAD, port))
        one.listen(0)
        while True:
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.connect_ex((DEAD, port))
            if probe.connect_ex((DEAD, port)) != errno.EISCONN:
                break
        yield


@pytest.fixture
def prefix(tmp_path: Path) -> list[str]:
    """What goes before a command that knows the names."""
    hosts = tmp_path / "hosts"
    addresses = (DEAD, REFUSING, "127.0.0.1")
    hosts.write_text("".join(f"{address} several.test\n" for address in addresses) + "127.0.0.1 one.test\n")
    return with_hosts(hosts)


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[Program]:
    async with processes.started(command, stderr=subprocess.PIPE, env=CLEAN) as process:  # unshare becomes the program
        yield Program(process)


async def exchange(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"


@pytest.mark.parametrize(
    ("option", "name"), [("-L", "several.test"), ("-R", "several.test"), ("-L", "several.test."), ("-R", "one.test.")]
)
async def test_a_target_whose_first_addresses_are_dead(option: str, name: str, prefix: list[str]) -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started(*prefix, *COMMAND, "listen", "0") as listening:
            port = await listening.port("listening on")
            forward = option, f"0:{name}:{target.port}"
            async with started(*prefix, *COMMAND, "connect", f"localhost:{port}", *forward) as connecting:
                with dead(target.port):
                    await exchange(await connecting.port("forwarding"))


async def test_a_server_whose_first_addresses_are_dead(prefix: list[str]) -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started(*COMMAND, "listen", "0") as listening:
            port = await listening.port("listening on")
            forward = "-L", f"0:localhost:{target.port}"
            with dead(port):
                async with started(*prefix, *COMMAND, "connect", f"several.test:{port}", *forward) as connecting:
                    await exchange(await connecting.port("forwarding"))


async def test_a_certificate_has_no_dot_at_its_end(prefix: list[str], tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        await muxpy("keygen", str(tmp_path / "tls"), "--name", "one.test")
        cert, key = (str(tmp_path / "tls" / name) for name in ("cert.pem", "key.pem"))
        async with (
            Server(echo) as target,
            started(*COMMAND, "listen", "0", "--tls-cert", cert, "--tls-key", key) as listening,
        ):
            port = await listening.port("listening on")
            for way in ((f"one.test.:{port}",), (f"localhost:{port}", "--tls-name", "one.test.")):
                command = "connect", *way, "--tls-ca", cert, "-L", f"0:localhost:{target.port}"
                async with started(*prefix, *COMMAND, *command) as connecting:
                    await exchange(await connecting.port("forwarding"))

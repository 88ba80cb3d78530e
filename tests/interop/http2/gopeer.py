"""Go's client and server of HTTP/2, of net/http and golang.org/x/net: the program in the folder go/."""

from __future__ import annotations

import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.cli.real._programs import run
from tests.helpers.processes import Output, started
from tests.helpers.tasks import LIMIT
from tests.interop.goprogram import GoProgram

from .site import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .tls import Tls

__all__ = ["PROGRAM", "GoServer", "go_asks", "go_serves"]

PROGRAM = GoProgram(
    name="http2peer",
    sources=Path(__file__).parent / "go",
    package="golang.org/x/net",
    part="http2/h2c",
    debian="golang-golang-x-net-dev",
)


async def go_asks(what: str, url: str, tls: Tls | None, count: int = 100, target: str = "") -> dict[str, Any]:
    """What a scenario of go/client.go says. `target`: where its tunnels lead."""
    trusted = () if tls is None else ("-ca", tls.authority)
    command = (str(PROGRAM.build()), "ask", *trusted, "-count", str(count), what, url)
    answer: dict[str, Any] = json.loads((await run(*command, TARGET=target)).out)
    return answer


class GoServer:
    """A server that runs: the pages of go/server.go."""

    def __init__(self, url: str, process: trio.Process) -> None:
        self.url = url
        self._process = process

    async def stop(self) -> None:
        """Have it end gracefully."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(b"stop\n")


@asynccontextmanager
async def go_serves(tls: Tls | None, *options: str) -> AsyncIterator[GoServer]:
    """Run a server as long as the block, over TLS if there is a certificate."""
    files = () if tls is None else ("-cert", tls.chain, "-key", tls.key)
    command = (PROGRAM.build(), "serve", *files, *options)
    with trio.fail_after(LIMIT):
        async with started(command, stdin=subprocess.PIPE) as process, trio.open_nursery() as nursery:
            output = Output(process.stdout)
            nursery.start_soon(output.read)
            port = (await output.said("listening at")).split()[-1]
            yield GoServer(f"{'http' if tls is None else 'https'}://{HOST}:{port}", process)
            nursery.cancel_scope.cancel()

"""Both ends of a tunnel, with any options."""

from __future__ import annotations

import json
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.helpers import processes
from tests.helpers.tasks import LIMIT

from ..program import ADDRESS, COMMAND, Program
from ._programs import CLEAN, muxpy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

FORWARDS: Final = {"-L", "-R", "-D", "--http-proxy"}


@dataclass(slots=True)
class Ends:
    """A tunnel under way."""

    listening: Program
    connecting: Program
    address: str
    """Where one listens and the other connects to."""
    ports: list[int]
    """Of the forwards: first those that are bound at the connecting end, as they were given, then those of -R."""

    @property
    def port(self) -> int:
        """The first one."""
        return self.ports[0]

    async def status(self, *, listening: bool = False) -> dict[str, Any]:
        """What `muxpy status --json` says of one end."""
        program = self.listening if listening else self.connecting
        status: dict[str, Any] = json.loads((await muxpy("status", str(program.process.pid), "--json")).out)
        return status


@asynccontextmanager
async def started(*arguments: str, **variables: str) -> AsyncIterator[Program]:
    """The program with these arguments and environment variables; killed at the end of the block if it still runs."""
    environment = {**CLEAN, **variables}
    async with processes.started([*COMMAND, *arguments], stderr=subprocess.PIPE, env=environment) as process:
        yield Program(process)


@asynccontextmanager
async def tunnel(
    *connect: str, listen: Sequence[str] = (), bind: str = "127.0.0.1:0", **variables: str
) -> AsyncIterator[Ends]:
    """Both ends until the end of the block: `listen` and `connect` are their options, `variables` are for the latter.

    In `connect`, the forwards that are bound at the connecting end stand before those of -R.
    """
    with trio.fail_after(LIMIT):
        async with started("listen", bind, *listen) as listening:
            match = ADDRESS.search(await listening.line("listening on"))
            assert match is not None
            async with started("connect", match[0], *connect, **variables) as connecting:
                lines = [await connecting.line("forwarding") for option in connect if option in FORWARDS]
                yield Ends(listening, connecting, match[0], [_port(line) for line in lines])


def _port(line: str) -> int:
    """The port in `forwarding 127.0.0.1:8080 -> ...`; 0 for a Unix socket."""
    match = ADDRESS.match(line.partition("forwarding ")[2])
    return int(match[2]) if match is not None else 0

"""The two ends of the demo: like `muxpy listen` and `muxpy connect`, but each prints its session's statistics last.

A process each: python -m muxpy_cli._demo._ends listen, or python -m muxpy_cli._demo._ends connect HOST:PORT TARGET.
The last line that it prints is the session's statistics, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._lifetime import run
from .._options import ConnectOptions, ListenOptions
from .._program import attend
from ..client import Client, Credentials
from ..server import Server
from ..specs import Address, parse_address, parse_local
from ..view import Console
from ._children import end_with_parent

if TYPE_CHECKING:
    import muxpy

    from .._lifetime import Lifetime
    from ..server import Peer

__all__ = ["connect", "listen"]


class _Server(Server):
    """Keeps the session that has ended last."""

    session: muxpy.Session | None = None

    def dismiss(self, peer: Peer, end: muxpy.SessionEnd | None) -> None:
        super().dismiss(peer, end)
        self.session = peer.session


async def listen(console: Console, lifetime: Lifetime) -> None:
    """The listening end, on a free port."""
    options = ListenOptions(address=Address("127.0.0.1", 0))
    server = _Server(options, console)
    try:
        await attend(server, options.output, console, lifetime, partial(server.reload, options))
    finally:  # a program that has drained is cancelled
        _tell(server.session)


async def connect(listening: str, target: str, console: Console, lifetime: Lifetime) -> None:
    """The connecting end, which forwards a free port to the target."""
    options = ConnectOptions(address=parse_address(listening), forwards=(parse_local(f"127.0.0.1:0:{target}"),))
    client = Client(options, Credentials(options), console)
    session = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attend, client, options.output, console, lifetime, partial(client.reload, options))
            session = await client.links.session()
    finally:
        _tell(session)


def _tell(session: muxpy.Session | None) -> None:
    if session is not None:
        print(json.dumps(asdict(session.statistics())), flush=True)


if __name__ == "__main__":
    end_with_parent()
    match sys.argv[1:]:
        case ["listen"]:
            sys.exit(run(partial(listen, Console())))
        case ["connect", listening, target]:
            sys.exit(run(partial(connect, listening, target, Console())))

"""RPyC with threads, and a connection for each caller. It has no streams."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import rpyc
from rpyc.utils.server import ThreadedServer

from ._base import HOST, announce, callers_of, with_threads

if TYPE_CHECKING:
    from ._base import Figures, Job


class Service(rpyc.Service):  # type: ignore[misc] # has no types
    def exposed_echo(self, data: bytes) -> bytes:
        return data


def serve() -> None:
    server = ThreadedServer(Service(), hostname=HOST, port=0, backlog=1024)
    announce(server.port)
    server.start()


def run(port: int, job: Job) -> Figures:
    with ExitStack() as connections:
        roots = [connections.enter_context(rpyc.connect(HOST, port)).root for _ in range(callers_of(job))]
        return with_threads(job, [root.echo for root in roots])

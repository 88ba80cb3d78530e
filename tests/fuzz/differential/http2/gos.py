"""Go's ends, of golang.org/x/net: the program of tests/interop/http2/go, which gets plans and tells what was seen."""

from __future__ import annotations

import json
import subprocess
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import trio

from tests.helpers.processes import Output, started
from tests.interop.http2.gopeer import PROGRAM

from .views import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.interop.http2.tls import Tls

    from .plan import Plan

__all__ = ["GoClient", "GoServer", "running"]


class _Program:
    """One that runs: a plan goes in by a line, views come out by one."""

    def __init__(self, process: trio.Process, output: Output) -> None:
        assert process.stdin is not None
        self._input = process.stdin
        self._output = output
        self._told = 0

    async def tell(self, plan: object) -> None:
        await self._input.send_all(json.dumps(plan).encode() + b"\n")
        self._told += 1

    async def views(self) -> list[View]:
        line = await self._output.said("saw", times=self._told)
        return [_view(**told) for told in json.loads(line.partition(" ")[2])]

    async def said(self, words: str) -> str:
        return await self._output.said(words, times=max(self._told, 1))


class GoServer(_Program):
    """Go's server."""

    port = 0

    async def begin(self, plan: Plan) -> None:
        await self.tell(asdict(plan))
        await self.said("ready")


class GoClient(_Program):
    """Go's client."""

    async def ask(self, port: int, plan: Plan) -> list[View]:
        await self.tell({"port": port, **asdict(plan)})
        return await self.views()


def _view(fields: list[list[str]], trailers: list[list[str]], **rest: Any) -> View:  # noqa: ANN401
    def pairs(listed: list[list[str]]) -> tuple[tuple[str, str], ...]:
        return tuple((name, value) for name, value in listed)

    return View(fields=pairs(fields), trailers=pairs(trailers), **rest)


@asynccontextmanager
async def running(tls: Tls | None) -> AsyncIterator[tuple[GoServer, GoClient]]:
    """Run both as long as the block."""
    program = PROGRAM.build()
    pair, authority = ((), ()) if tls is None else ((tls.chain, tls.key), (tls.authority,))
    async with (
        started((program, "differ-serve", *pair), stdin=subprocess.PIPE) as serving,
        started((program, "differ-ask", *authority), stdin=subprocess.PIPE) as asking,
        trio.open_nursery() as nursery,
    ):
        outputs = Output(serving.stdout), Output(asking.stdout)
        for output in outputs:
            nursery.start_soon(output.read)
        server = GoServer(serving, outputs[0])
        server.port = int((await server.said("listening at")).split()[-1])
        yield server, GoClient(asking, outputs[1])
        nursery.cancel_scope.cancel()

"""Go's net/rpc over Go's muxado: either end serves, with muxpy in between, and Python calls it itself."""

from __future__ import annotations

import base64
import json
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

import muxpy
from tests.docs.blocks import ROOT
from tests.helpers.processes import started
from tests.helpers.tasks import bounded
from tests.interop.goprogram import GoProgram

from .ends import DIGEST, IMAGE
from .page import PAGE, run, shows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.live_peer, pytest.mark.no_cover]

PROGRAM: Final = GoProgram(
    name="gorpc",
    sources=Path(__file__).parent / "gorpc",
    package="github.com/inconshreveable/muxado",
    part="proto/ext",
    debian="golang-github-inconshreveable-muxado-dev",
)


@pytest.fixture(scope="module")
def gorpc() -> Path:
    PROGRAM.require()
    return PROGRAM.build()


@asynccontextmanager
async def dialled(gorpc: Path, mode: str, data: bytes = b"") -> AsyncIterator[tuple[muxpy.Session, trio.Process]]:
    """The session that the program dials, and the program, whose standard input is `data`."""
    sessions, arrived = trio.open_memory_channel[muxpy.Session](0)

    async def serve(session: muxpy.Session) -> None:
        await sessions.send(session)
        await session.wait()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, serve, 0, host="127.0.0.1"))
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        async with started([gorpc, mode, address], stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            session = await arrived.receive()
            nursery.start_soon(feed, process.stdin, data)
            yield session, process
        nursery.cancel_scope.cancel()


async def feed(pipe: trio.abc.SendStream, data: bytes) -> None:
    async with pipe:
        await pipe.send_all(data)


async def line(process: trio.Process) -> str:
    """The first line that it prints."""
    assert process.stdout is not None
    text = b""
    while not text.endswith(b"\n"):
        part = await process.stdout.receive_some()
        assert part, "it has ended"
        text += part
    return text.decode().strip()


@bounded()
async def test_go_serves_streams_and_go_calls_over_tcp(gorpc: Path) -> None:
    async with dialled(gorpc, "serve") as (session, _), session.bind(0) as port:
        command = [str(gorpc), "call-tcp", f"127.0.0.1:{port}"]
        done = await trio.run_process(command, stdin=IMAGE, capture_stdout=True)
    assert done.stdout.decode().strip() == DIGEST


@bounded()
async def test_go_calls_over_a_stream_and_go_serves_tcp(gorpc: Path) -> None:
    async with started([gorpc, "listen"]) as server:
        port = int(await line(server))
        async with dialled(gorpc, "call", IMAGE) as (session, process), trio.open_nursery() as nursery:
            nursery.start_soon(session.forward_to, port)
            assert await line(process) == DIGEST
            nursery.cancel_scope.cancel()


@shows("Go's net/rpc")
@bounded()
async def test_python_calls_go(gorpc: Path) -> None:
    async with dialled(gorpc, "serve-json") as (session, _):
        names = await run("Go's net/rpc", session=session, base64=base64, json=json, image=IMAGE)
        assert names["answer"] == DIGEST


def test_the_go_of_the_page_is_what_the_program_does() -> None:
    calls = ("muxado.Dial(", ".NetListener()", ".NetDial(", "rpc.NewClient(", "rpc.Accept(", "jsonrpc.ServeConn")
    source, page = (PROGRAM.sources / "main.go").read_text(), (ROOT / PAGE).read_text()
    assert [call for call in calls if call not in source or call not in page] == []

"""The example in Go and muxpy call each other."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterable  # noqa: TC003 - of a service
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import pytest
import trio

import muxpy
from muxpy import rpc
from tests.cli.program import free_port
from tests.helpers.tasks import LIMIT, bounded
from tests.interop.goprogram import GoProgram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.live_peer

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
PROGRAM: Final = GoProgram(
    name="rpc",
    sources=EXAMPLES,
    package="github.com/inconshreveable/muxado",
    part="proto/ext",
    debian="golang-github-inconshreveable-muxado-dev",
)
SAID: Final = (
    b"""3 [3,"InvalidArgument","division by zero",false,null] [1,"Error","the caller gave up",false,null] 500500\n"""
)


class Calculator:
    """What the program calls."""

    def __init__(self) -> None:
        self.cancelled = trio.Event()

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def div(self, a: int, b: int) -> float:
        if b == 0:
            raise rpc.InvalidArgument("division by zero")
        return a / b

    async def wait(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def total(self, numbers: AsyncIterable[int]) -> int:
        return sum([number async for number in numbers])


class Words(Protocol):
    """What the program serves."""

    async def count(self, first: str, second: str = "", third: str = "") -> int: ...
    async def nothing(self) -> int: ...


@rpc.service
class Other(Protocol):
    """What it does not."""

    async def nothing(self) -> int: ...


@pytest.fixture(scope="module")
def program() -> Path:
    """The program, built. Where it cannot be, the test is skipped, or fails if live peers are required."""
    PROGRAM.require()
    return PROGRAM.build()


def test_it_is_short() -> None:
    lines = (EXAMPLES / "rpc.go").read_text().splitlines()
    assert len(lines) <= 100
    assert max(len(line.expandtabs(4)) for line in lines) <= 120


@asynccontextmanager
async def started(program: Path, port: int) -> AsyncIterator[trio.Process]:
    """The program runs, with this port."""
    process = await trio.lowlevel.open_process([program, f"127.0.0.1:{port}"], stdout=subprocess.PIPE)
    try:
        yield process
        with trio.fail_after(LIMIT):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def connect(port: int) -> trio.SocketStream:
    """As soon as the program listens."""
    while True:
        try:
            return await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.01)


async def call_each_other(session: muxpy.Session, process: trio.Process) -> None:
    calculator = Calculator()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, session, [calculator]))
        await call(session)
        assert process.stdout is not None
        said = b""
        while not said.endswith(b"\n"):
            said += await process.stdout.receive_some()
        assert said == SAID
        await calculator.cancelled.wait()
        with trio.fail_after(session.config.drain_timeout):  # both ends of each shared stream are ended
            await session.aclose()
        nursery.cancel_scope.cancel()


async def call(session: muxpy.Session) -> None:
    words = rpc.client(session, Words, json=True)
    assert await words.count("one") == 3
    assert await rpc.client(session, Words, json=True, priority=7).count("one") == 3
    assert await words.count("x" * 100_000) == 3

    async def one() -> None:
        assert await words.count("one", "two") == 3

    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(one)
    with pytest.raises(rpc.Unimplemented, match=r"Words\.nothing"):
        await words.nothing()
    with pytest.raises(rpc.Unimplemented, match=r"Other\.nothing"):
        await rpc.client(session, Other, json=True).nothing()
    with pytest.raises(rpc.Unimplemented, match="calls are in JSON"):
        await rpc.client(session, Words).count("one")


@bounded()
async def test_the_program_connects(program: Path) -> None:
    sessions, receive = trio.open_memory_channel[muxpy.Session](0)

    async def handle(session: muxpy.Session) -> None:
        await sessions.send(session)
        await session.wait()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, handle, 0, host="127.0.0.1"))
        async with started(program, listener.socket.getsockname()[1]) as process:
            await call_each_other(await receive.receive(), process)
        nursery.cancel_scope.cancel()


@bounded()
async def test_the_program_listens(program: Path) -> None:
    port = free_port()
    async with (
        started(program, port) as process,
        muxpy.open_session(await connect(port), client=True) as session,
    ):
        await call_each_other(session, process)

"""Ends in processes of their own, and traffic with them that is checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

import muxpy
from tests.helpers import processes
from tests.helpers.processes import Output

from .end import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Child", "Load", "child", "loaded", "until"]

ROOT: Final = Path(__file__).parents[2]
SIZE: Final = 100_000
"""Bytes of one message of the load: more than a window."""


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event; the test's own deadline ends the wait."""
    while not condition():  # noqa: ASYNC110 - another process has no event for us
        await trio.sleep(0.005)


class Child:
    """An end under way."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.output = Output(process.stdout)
        self.complaints = Output(process.stderr)

    async def said(self, key: str, times: int = 1) -> dict[str, Any]:
        """Wait for the `times`-th line that has `key`."""
        found: dict[str, Any] = json.loads(await self.output.said(f'"{key}":', times=times))
        return found

    async def port(self) -> int:
        """Where it listens."""
        port: int = (await self.said("port"))["port"]
        return port

    async def stop(self) -> None:
        """Stop it, as a shell's Ctrl-Z or a debugger does."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def go_on(self) -> None:
        """Let it run again."""
        self.process.send_signal(signal.SIGCONT)

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        return processes.descriptors(self.process.pid)


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[Child]:
    """`python -m tests.chaos.end ...`; killed in the end, if it has not ended."""
    command = [sys.executable, "-m", "tests.chaos.end", *arguments]
    options = {"stderr": subprocess.PIPE, "cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    async with processes.started(command, **options) as process, trio.open_nursery() as nursery:
        end = Child(process)
        nursery.start_soon(end.output.read)
        nursery.start_soon(end.complaints.read)
        yield end
        process.kill()


class Load:
    """Streams that have their data sent back, message by message, until an error or `finish`; each byte is compared."""

    def __init__(self, session: muxpy.Session, streams: int = 8) -> None:
        self.errors: list[trio.BrokenResourceError] = []
        self.whole = 0  # streams that went to their end in order
        self.moves = 0  # pieces that came back
        self.messages = [0] * streams  # that came back whole
        self._session = session
        self._finishing = False

    async def run(self) -> None:
        """Until all streams have ended, one way or the other."""
        async with trio.open_nursery() as nursery:
            for number in range(len(self.messages)):
                nursery.start_soon(self._talk, number)

    def finish(self) -> None:
        """Let each stream end in order after the message that is under way."""
        self._finishing = True

    async def more(self, messages: int = 2) -> None:
        """Wait until each stream has got so many messages more."""
        goals = [count + messages for count in self.messages]
        await until(lambda: all(count >= goal for count, goal in zip(self.messages, goals, strict=True)))

    async def stuck(self) -> None:
        """Wait until nothing comes back any more."""
        before = -1
        while before != self.moves:
            before = self.moves
            await trio.sleep(0.1)

    async def _talk(self, number: int) -> None:
        try:
            async with await self._session.open_stream() as stream:
                while not self._finishing:
                    await self._message(stream, number)
                await stream.send_eof()
                assert await stream.receive_some() == b""
                self.whole += 1
        except* trio.BrokenResourceError as group:
            self.errors.append(_first(group))

    async def _message(self, stream: muxpy.Stream, number: int) -> None:
        message = (f"{number} {self.messages[number]} " * (SIZE // 4))[:SIZE].encode()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, message)
            offset = 0
            while offset < SIZE:
                part = await stream.receive_some(SIZE - offset)
                assert part, "the stream ended silently"
                assert message[offset : offset + len(part)] == part, "wrong bytes"
                offset += len(part)
                self.moves += 1
        self.messages[number] += 1


def _first(group: BaseExceptionGroup[trio.BrokenResourceError]) -> trio.BrokenResourceError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, trio.BrokenResourceError)
    return error


@asynccontextmanager
async def loaded(
    port: int, config: muxpy.SessionConfig | None = None, *, streams: int = 8
) -> AsyncIterator[tuple[muxpy.Session, Load]]:
    """A session to `port` and load on it that is going."""
    async with muxpy.open_tcp_session(HOST, port, config=config) as session, trio.open_nursery() as nursery:
        load = Load(session, streams)
        nursery.start_soon(load.run)
        await load.more()
        yield session, load
        load.finish()

"""The live Go peer: one end of a muxado session, played by the Go reference package and directed by a test.

The program is in the folder gopeer/, whose commands.go lists every command with its fields. A test says::

    async with GoPeer.listen("-heartbeat-interval", "200ms") as peer:
        ...  # connect a session to peer.host, peer.port
        opened = await peer.call("open", priority=7, type=9)
        await peer.call("write", stream=opened["stream"], data=b"hello")

Calls may run at the same time; each waits for its own answer. The peer is a real process, so a test that
uses it runs in real time: no autojump clock.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.helpers.tasks import LIMIT
from tests.interop.goprogram import GoBuildError, GoProgram

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PROGRAM = GoProgram(
    name="gopeer",
    sources=Path(__file__).parent / "gopeer",
    package="github.com/inconshreveable/muxado",
    part="proto/ext",
    debian="golang-github-inconshreveable-muxado-dev",
)
_BYTES_FIELDS = ("data", "debug")  # base64 in JSON, bytes in Python


class GoPeerError(Exception):
    """A command failed, or the process ended. `reply` holds the answer's other fields, such as `n`."""

    def __init__(self, message: str, reply: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reply = reply or {}


def go_package() -> Path:
    """The folder of the reference package. Raises GoBuildError if it is not installed."""
    workspace = PROGRAM.workspace()
    if workspace is None:
        raise GoBuildError(PROGRAM.why_missing() or "the Go package is not there")
    return workspace / "src" / PROGRAM.package


class GoPeer:
    """A running gopeer. `host` and `port` are where it listens, or the local address that it dialled from."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.host = ""
        self.port = 0
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._stderr_pipe = process.stderr
        self._stderr = bytearray()
        self._stderr_ended = trio.Event()
        self._sending = trio.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Answer] = {}
        self._hello = _Answer()
        self._dead: str | None = None  # why there will be no more answers

    @classmethod
    @asynccontextmanager
    async def listen(cls, *options: str, address: str = "127.0.0.1:0") -> AsyncGenerator[GoPeer, None]:
        """Run a peer that is the server of the first session that comes; commands wait for it."""
        async with cls._run("listen", *options, address) as peer:
            yield peer

    @classmethod
    @asynccontextmanager
    async def dial(cls, host: str, port: int, *options: str) -> AsyncGenerator[GoPeer, None]:
        """Run a peer that is a client. GoPeerError says why it could not connect."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        async with cls._run("dial", *options, address) as peer:
            yield peer

    async def call(self, command: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Carry out a command and return its answer, with bytes for `data` and `debug` both ways.

        Raises GoPeerError in the Go program's own words. Cancelling gives up the answer: the command runs on.
        """
        if self._dead is not None:
            raise GoPeerError(self._dead)
        number = next(self._ids)
        answer = self._waiting[number] = _Answer()
        try:
            await self._send({"id": number, "cmd": command, **fields})
            return await answer.get()
        finally:
            del self._waiting[number]

    def signal(self, number: int) -> None:
        """Send the process a signal, such as SIGSTOP."""
        self._process.send_signal(number)

    async def _send(self, message: dict[str, Any]) -> None:
        for name in _BYTES_FIELDS:
            if name in message:
                message[name] = base64.b64encode(message[name]).decode()
        async with self._sending:
            # Half a line would spoil the next one. If the process has ended, _dispatch tells all who wait.
            with (
                trio.CancelScope(shield=True),
                contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._stdin.send_all(json.dumps(message).encode() + b"\n")

    @classmethod
    @asynccontextmanager
    async def _run(cls, *args: str) -> AsyncGenerator[GoPeer, None]:
        program = await trio.to_thread.run_sync(PROGRAM.build)
        process = await trio.lowlevel.open_process(
            [program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        peer = cls(process)
        # The two tasks never raise and they end with the process, so only the body can fail.
        # What it raises is kept out of the nursery, which would wrap it in an exception group.
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer._dispatch)
            nursery.start_soon(peer._collect_stderr)
            try:
                await peer._start()
                yield peer
            except BaseException as exc:
                failure = exc
            nursery.cancel_scope.shield = True
            await peer._stop()
        if failure is not None:
            if peer._stderr:
                failure.add_note(f"stderr of gopeer:\n{peer._stderr_text()}")
            raise failure

    async def _start(self) -> None:
        with trio.move_on_after(LIMIT):
            hello = await self._hello.get()
            host, _, port = hello["addr"].rpartition(":")
            self.host, self.port = host.strip("[]"), int(port)
            return
        raise GoPeerError(f"gopeer did not start within {LIMIT} s")

    async def _stop(self) -> None:
        await self._stdin.aclose()
        with trio.move_on_after(LIMIT):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _dispatch(self) -> None:
        with trio.CancelScope(shield=True):
            line = bytearray()
            async for chunk in self._stdout:
                *ends, rest = chunk.split(b"\n")
                for end in ends:
                    line += end
                    self._take(json.loads(line))
                    line.clear()
                line += rest
            await self._stderr_ended.wait()
            code = await self._process.wait()
            words = self._stderr_text() or "nothing on stderr"
            self._dead = f"gopeer has ended with exit code {code}: {words}"
            for answer in (self._hello, *self._waiting.values()):
                answer.set({"error": self._dead})

    async def _collect_stderr(self) -> None:
        with trio.CancelScope(shield=True):
            async for chunk in self._stderr_pipe:
                self._stderr += chunk
            self._stderr_ended.set()

    def _take(self, reply: dict[str, Any]) -> None:
        if "event" in reply:
            self._hello.set(reply)
            return
        for name in _BYTES_FIELDS:
            if name in reply:
                reply[name] = base64.b64decode(reply[name] or "")
        answer = self._waiting.get(reply.pop("id"))
        if answer is not None:  # else its caller was cancelled
            answer.set(reply)

    def _stderr_text(self) -> str:
        return self._stderr.decode(errors="replace").strip()


class _Answer:
    """One reply, and the event that it has come."""

    def __init__(self) -> None:
        self._come = trio.Event()
        self._reply: dict[str, Any] = {}

    def set(self, reply: dict[str, Any]) -> None:
        if not self._come.is_set():
            self._reply = reply
            self._come.set()

    async def get(self) -> dict[str, Any]:
        await self._come.wait()
        if "error" in self._reply:
            raise GoPeerError(self._reply["error"], self._reply)
        return self._reply

"""Running the program as the user does, in processes of its own, and small servers for it to forward to."""

from __future__ import annotations

import atexit
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import trio

from tests.helpers.processes import started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "muxpy_cli"]
RUNTIME = tempfile.mkdtemp(prefix="muxpy-tests-")  # for control sockets: killed processes leave theirs
atexit.register(shutil.rmtree, RUNTIME, ignore_errors=True)
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "NO_COLOR", "TERM"}},
    "XDG_RUNTIME_DIR": RUNTIME,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")]),
}
ADDRESS = re.compile(r"(127\.0\.0\.1|\[::1\]):(\d+)")


class Program:
    """`muxpy ...` under way."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.output = ""
        self._unread = ""

    async def line(self, text: str) -> str:
        """Read on to the next line of standard output that contains `text`."""
        assert self.process.stdout is not None
        while True:
            while "\n" not in self._unread:
                chunk = await self.process.stdout.receive_some()
                assert chunk, f"ended without {text!r}: {self.output} {await self.errors()}"
                self._unread += chunk.decode()
            line, _, self._unread = self._unread.partition("\n")
            self.output += line + "\n"
            if text in line:
                return line

    async def port(self, text: str) -> int:
        """The first port in that line."""
        match = ADDRESS.search(await self.line(text))
        assert match is not None
        return int(match[2])

    async def errors(self) -> str:
        """All that it writes to standard error until it ends."""
        assert self.process.stderr is not None
        text = b""
        async for chunk in self.process.stderr:
            text += chunk
        return text.decode()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait; the exit code."""
        self.send(number)
        return await self.process.wait()


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Program]:
    """The program with these arguments; killed at the end of the block if it still runs."""
    async with started([*COMMAND, *arguments], stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        yield Program(process)


async def run(*arguments: str) -> tuple[int, str, str]:
    """The program from start to end: exit code, standard output, standard error."""
    done = await trio.run_process(
        [*COMMAND, *arguments], capture_stdout=True, capture_stderr=True, check=False, env=ENVIRONMENT
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Tunnel:
    """A listening and a connecting end, and the ports that they forward."""

    def __init__(self, listening: Program, connecting: Program, ports: list[int]) -> None:
        self.listening = listening
        self.connecting = connecting
        self.ports = ports
        self.clients: list[trio.SocketStream] = []

    async def client(self, index: int = 0) -> trio.SocketStream:
        """Connect to a forwarded port; closed with the tunnel."""
        self.clients.append(await trio.open_tcp_stream("127.0.0.1", self.ports[index]))
        return self.clients[-1]


@asynccontextmanager
async def tunnel(*forwards: str, options: tuple[str, ...] = (), listen: tuple[str, ...] = ()) -> AsyncIterator[Tunnel]:
    """Both ends without TLS; `forwards` are -L and -R with their specs, `options` are others of the connecting end, and
    `listen` those of the listening one."""
    async with running("listen", "0", *listen) as listening:
        port = await listening.port("listening on")
        async with running("connect", f"localhost:{port}", *forwards, *options) as connecting:
            ports = [await connecting.port("forwarding") for _ in forwards[::2]]
            ends = Tunnel(listening, connecting, ports)
            try:
                yield ends
            finally:
                for client in ends.clients:
                    client.socket.close()


class Server:
    """A TCP server in this process, on a free port."""

    def __init__(self, handler: Callable[[trio.SocketStream], Awaitable[None]], host: str = "127.0.0.1") -> None:
        self._handler = handler
        self._host = host

    async def __aenter__(self) -> Self:
        self._listeners = await trio.open_tcp_listeners(0, host=self._host)
        self.port = int(self._listeners[0].socket.getsockname()[1])
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(trio.serve_listeners, self._handler, self._listeners)
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *details: object) -> None:
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(*details)  # type: ignore[arg-type]


async def echo(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()


def reset(stream: trio.SocketStream) -> None:
    """Close a TCP connection with RST."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile: bound, but not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


PORTS: Final = range(10_000, 32_768)
"""Linux gives none of these to whoever asks for any (ip_local_port_range): what is free stays so until it is bound."""


def free_port() -> int:
    """A port to bind, for TCP and for UDP, at any address."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with suppress(OSError), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("", port))
            udp.bind(("", port))
            return port


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything up to the end."""
    return b"".join([bytes(chunk) async for chunk in stream])

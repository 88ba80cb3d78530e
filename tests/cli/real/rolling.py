"""Rolling restarts of the listening end under load: `python -m tests.cli.real.rolling 100`.

Each restart is SIGTERM for the server and a new one on the same port as soon as that is free. wrk and curl open one
connection after the other meanwhile, through -L and -D; none may fail. A download that began before each restart must
come through whole, though it ends when the next server has long taken over.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tests.documented import keep
from tests.helpers import processes

from ..program import COMMAND, Program, Server, free_port
from ._nginx import serving_nginx
from ._programs import CLEAN, HOST, curl, find, muxpy
from ._tunnel import started

if TYPE_CHECKING:
    from ._nginx import Nginx

__all__ = ["Figures", "restart_under_load"]

CONNECTIONS: Final = 8
"""That wrk has at once; it closes each after one answer and opens another."""
TIMES: Final = ("--drain", "60"), ("--drain", "60", "--connect-wait", "60")
"""Of the two ends. Longer than the slowest machine takes to start a server: not the waiting is tried here."""
CONTENT: Final = os.urandom(2_000_000)
HALF: Final = len(CONTENT) // 2


@dataclass(slots=True)
class Figures:
    """What came of it."""

    restarts: int = 0
    wrk: int = 0
    """Requests that wrk made, each over a connection of its own."""
    curl: int = 0
    downloads: int = 0
    """That began before a restart, and came through whole after it."""
    failures: list[str] = field(default_factory=list)


class Halves:
    """A target that sends the first half of CONTENT, and the second one when it may."""

    def __init__(self) -> None:
        self.may_go_on = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):  # curl says what that was
                await self._answer(stream)

    async def _answer(self, stream: trio.SocketStream) -> None:
        await stream.receive_some()  # a request is one segment here
        await stream.send_all(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT))
        await stream.send_all(CONTENT[:HALF])
        await self.may_go_on.wait()
        await stream.send_all(CONTENT[HALF:])


class Scene:
    """One client, and one server after the other on the same port."""

    def __init__(self, folder: Path, nginx: Nginx, *, tls: bool) -> None:
        self.figures = Figures()
        self._folder = folder
        self._nginx = nginx
        key = "--tls-cert", str(nginx.certificate), "--tls-key", str(nginx.certificate.with_name("key.pem"))
        self._tls = (key, ("--tls-ca", str(nginx.certificate))) if tls else ((), ())
        self._address = f"{HOST}:{free_port()}"
        self._sessions = 0
        self._halves = Halves()
        self._client: Program
        self._server: Program
        self._ports: list[int]

    async def run(self, restarts: int) -> Figures:
        """So many restarts."""
        async with AsyncExitStack() as stack:
            target = await stack.enter_async_context(Server(self._halves.serve))
            self._server = await self._serve(stack)
            forwards = "-L", f"0:{self._nginx.target}", "-L", f"0:localhost:{target.port}", "-D", "0"
            self._client = await stack.enter_async_context(
                started("connect", self._address, *TIMES[1], *self._tls[1], *forwards)
            )
            await self._session()
            self._ports = [await self._client.port("forwarding") for _ in forwards[::2]]
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wrk, over)
                nursery.start_soon(self._curl, over, "-L", f"http://{HOST}:{self._ports[0]}/small")
                proxied = "--socks5-hostname", f"{HOST}:{self._ports[2]}", f"http://{self._nginx.target}/small"
                nursery.start_soon(self._curl, over, "-D", *proxied)
                for _ in range(restarts):
                    await self._restart(stack)
                over.set()
            status = (await muxpy("status", str(self._client.process.pid), "--json")).out
            if not re.search(r'"failed": 0\b', status.partition('"totals"')[2]):
                self.figures.failures.append(status)
        return self.figures

    async def _serve(self, stack: AsyncExitStack) -> Program:
        """The next server. The one before may not have left the port when this one wants it: then once more."""
        while True:
            server = await stack.enter_async_context(started("listen", self._address, *TIMES[0], *self._tls[0]))
            assert server.process.stdout is not None
            try:
                await server.line("listening on")
            except AssertionError as ended:
                if "in use" not in str(ended):
                    raise
            else:
                return server

    async def _session(self) -> None:
        await self._client.line("connected to")
        self._sessions += 1

    async def _restart(self, stack: AsyncExitStack) -> None:
        self._halves.may_go_on = trio.Event()
        old, file = self._server, self._folder / "download"
        file.write_bytes(b"")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._download, file)
            while file.stat().st_size < HALF:  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.01)
            old.send(signal.SIGTERM)
            self._server = await self._serve(stack)
            await self._session()
            if old.process.poll() is not None:
                self.figures.failures.append("a server has ended before the connections that it had")
            self._halves.may_go_on.set()
        if await old.process.wait() != 0:
            self.figures.failures.append(await old.errors())
        self.figures.restarts += 1

    async def _download(self, file: Path) -> None:
        url = f"http://{HOST}:{self._ports[1]}/"
        done = await curl("--no-buffer", "--max-time", "120", "--output", str(file), url, check=False)
        whole = hashlib.sha256(await trio.Path(file).read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
        if done.code == 0 and whole:
            self.figures.downloads += 1
        else:
            self.figures.failures.append(f"download: {done}")

    async def _curl(self, over: trio.Event, *arguments: str) -> None:
        while not over.is_set():
            done = await curl("--fail", "--max-time", "120", "--output", "/dev/null", *arguments[1:], check=False)
            self.figures.curl += 1
            if done.code != 0:
                self.figures.failures.append(f"curl through {arguments[0]}: {done}")

    async def _wrk(self, over: trio.Event) -> None:
        url = f"http://{HOST}:{self._ports[0]}/small"
        options = "-t1", f"-c{CONNECTIONS}", "-d1h", "--timeout", "120s", "-H", "Connection: close"
        async with processes.started([find("wrk") or "wrk", *options, url], env=CLEAN) as process:
            await over.wait()
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            output = b"".join([bytes(chunk) async for chunk in process.stdout]).decode()
        match = re.search(r"(\d+) requests in", output)
        self.figures.wrk = int(match[1]) if match is not None else 0
        if match is None or "Socket errors" in output or "Non-2xx" in output:
            self.figures.failures.append(output)


async def restart_under_load(folder: Path, nginx: Nginx, restarts: int, *, tls: bool = False) -> Figures:
    """Restart the server so many times."""
    return await Scene(folder, nginx, tls=tls).run(restarts)


def main(restarts: int) -> int:
    """Print what came of so many restarts; 1 if anything failed."""
    with tempfile.TemporaryDirectory(prefix="muxpy-") as name:
        folder = Path(name)
        subprocess.run([*COMMAND, "keygen", str(folder / "tls")], env=CLEAN, check=True, capture_output=True)
        with serving_nginx(folder, folder / "tls", ipv6=False) as nginx:
            figures = trio.run(restart_under_load, folder, nginx, restarts)
    rows = {
        "new connections of wrk": f"{figures.wrk:,}",
        "new connections of curl": f"{figures.curl:,}",
        "downloads across a restart, whole": f"{figures.downloads:,}",
        "failures": f"{len(figures.failures):,}",
    }
    for name, count in rows.items():
        print(f"{name}: {count}")
    print(*figures.failures, sep="\n")
    keep("restarts", f"{figures.restarts} restarts", ["count"], {name: [count] for name, count in rows.items()})
    return bool(figures.failures)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

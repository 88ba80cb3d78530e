"""How long the listening end holds up everybody else with many sessions: `python -m tests.cli.scale [SESSIONS]`.

A real `muxpy listen` gets that many sessions from raw clients, with a -R each as far as there are descriptors, and is
then asked for all that it does with every one of them. For each of these the table says how long the longest pass of
its event loop took, by the clock and by the processor, and its longest step: that is how long a byte of somebody else
could have waited.

All of it is done twice: all sessions are nobody's in particular, and each is a user's of its own, from a token file of
as many. The table of docs/reliability.md comes of it, by `python -m tests.documented`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from muxpy_cli.wire import Purpose, pack
from tests.documented import keep
from tests.frame import wire

from ..program import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BOUND: Final = 50.0
"""Milliseconds that nothing may hold up the event loop for."""

MANY: Final = 10_000

SPARE: Final = 400
"""Descriptors for everything that is no session and no -R. Many systems allow 20,000 at the most."""

UNLIMITED: Final = ["--max-sessions", "1000000", "--max-forwards", "1000000", "--max-streams", "1000000"]
LOGINS: Final = "logins, and -R"
ASKED: Final = 100
"""Remote forwards that are connected to."""
SETTLING: Final = 2.0
"""Seconds that are still watched when what was asked for has happened."""
PATIENCE: Final = 300.0
"""Seconds for it to happen."""


class Client:
    """A client's end of one session, over a blocking socket."""

    def __init__(self, port: int, number: int, token: str | None) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(30)
        self._socket.bind((f"127.0.{1 + number // 200}.{1 + number % 200}", 0))
        self._socket.connect(("127.0.0.1", port))
        self._unread = b""
        self._beating = True  # as far as the server knows
        hello: dict[str, Any] = {"program": "many", "client": f"c{number}", "process": f"p{number}", "slot": 0}
        if token is not None:
            hello["token"] = token
        self._open(3, Purpose.HELLO, hello)
        self._answer(3)

    def bind(self) -> int:
        """Have a port bound; its number."""
        self._open(5, Purpose.LISTEN, {"host": "127.0.0.1", "port": 0, "forward": 0})
        return int(self._answer(5)["port"])

    def refuse_heartbeats(self) -> None:
        """Or it would be taken for dead, since it reads no more."""
        while self._beating:
            self._next()

    def close(self) -> None:
        """As a network does it that is cut: without a word."""
        self._socket.close()

    def _open(self, stream_id: int, purpose: int, message: dict[str, Any]) -> None:
        self._socket.sendall(wire.syn(stream_id, stream_type=purpose) + wire.data(stream_id, pack(message)))

    def _answer(self, stream_id: int) -> dict[str, Any]:
        while True:
            frame = self._next()
            if frame.kind == wire.DATA and frame.stream_id == stream_id:
                answer: dict[str, Any] = json.loads(frame.body[2:])
                return answer

    def _next(self) -> wire.Frame:
        frame = self._frame()
        if frame.kind == wire.SYN:
            self._socket.sendall(wire.rst(frame.stream_id, wire.CANCEL))
            self._beating = False
        return frame

    def _frame(self) -> wire.Frame:
        while len(self._unread) < wire.HEADER.size or len(self._unread) < wire.HEADER.size + self._length():
            chunk = self._socket.recv(65536)
            if not chunk:
                raise EOFError
            self._unread += chunk
        _, flags, kind, stream_id = wire.HEADER.unpack_from(self._unread)
        end = wire.HEADER.size + self._length()
        body, self._unread = self._unread[wire.HEADER.size : end], self._unread[end:]
        return wire.Frame(kind & 31, flags, stream_id, body)

    def _length(self) -> int:
        return int(wire.HEADER.unpack_from(self._unread)[0]) & 0x3FFF


class Listening:
    """`muxpy listen`, with an eye on its event loop."""

    def __init__(self, process: subprocess.Popen[str], passes: Path) -> None:
        self.process = process
        self._passes = passes
        self._lines: list[str] = []
        threading.Thread(target=self._follow, daemon=True).start()
        self._until(lambda: self.said("listening on") > 0)
        self.port = self._number(r"listening on \S*:(\d+)")
        self._until(lambda: self.said("metrics on") > 0)
        self._metrics = self._number(r"metrics on http://\S*:(\d+)/")
        self.rows: dict[str, list[float]] = {}
        """For each thing that was asked for, the longest pass and step, in milliseconds of the processor."""

    def _follow(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)

    def _number(self, pattern: str) -> int:
        match = re.search(pattern, "".join(self._lines))
        assert match is not None
        return int(match[1])

    def said(self, text: str) -> int:
        """How many lines there were with it."""
        return sum(text in line for line in list(self._lines))

    @property
    def descriptors(self) -> int:
        """How many are open. 0 once it has ended."""
        with suppress(FileNotFoundError, PermissionError):
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return 0

    @staticmethod
    def _until(true: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < limit
            time.sleep(0.05)

    @contextmanager
    def watched(self, what: str, done: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Measure the block, and what it has set off until that is `done`."""
        begun, cpu = time.monotonic(), self._cpu()
        yield
        self._until(done)
        time.sleep(SETTLING)
        passes = [one for one in self._read() if one[0] >= begun]
        wall, used, step = (max((one[of] for one in passes), default=0.0) for of in (1, 2, 3))
        self.rows[what] = [used, step]
        cells = [f"{wall:.0f}", f"{used:.0f}", f"{step:.0f}", f"{self._cpu() - cpu:.1f}"]
        print(f"{what:45}" + "".join(f"{cell:>10}" for cell in cells), flush=True)

    def _read(self) -> list[list[float]]:
        return [[float(cell) for cell in line.split()] for line in self._passes.read_text().splitlines()]

    def _cpu(self) -> float:
        """Seconds of the processor that it has used. Not a number once it has ended."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> str:
        """What Prometheus is told."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics") as answer:
            text: str = answer.read().decode()
            return text

    def status(self) -> dict[str, Any]:
        """What `muxpy status` says."""
        command = [sys.executable, "-m", "muxpy_cli", "status", "--json", str(self.process.pid)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def listening(folder: Path, *options: str) -> Iterator[Listening]:
    """The listening end until the end of the block."""
    passes = folder / "passes"
    passes.touch()
    command = [sys.executable, "-m", "tests.cli.scale.watched", str(passes), "listen", "0"]
    command += ["--metrics", "0", *UNLIMITED, *options]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        yield Listening(process, passes)
    finally:
        process.kill()
        process.wait()


def tokens(file: Path, count: int) -> list[str]:
    """A token file with so many users; their tokens."""
    found = [f"muxpy_{secrets.token_urlsafe(32)}" for _ in range(count)]
    hashes = [hashlib.sha256(token.encode()).hexdigest() for token in found]
    file.write_text("".join(f'[users.u{number}]\ntoken = "sha256:{one}"\n' for number, one in enumerate(hashes)))
    return found


def measure(end: Listening, sessions: int, forwards: int, file: Path | None, who: Sequence[str | None]) -> None:
    """Everything that the listening end does with all of its sessions."""
    clients: list[Client] = []
    ports: list[int] = []
    empty = end.descriptors

    def left(most: int) -> Callable[[], bool]:
        # Those of the sessions, of their -R, of connections to them, which these clients never answer, and some of the
        # program itself.
        return lambda: end.descriptors <= empty + most + min(most, forwards) + ASKED + 20

    def reloaded(times: int) -> Callable[[], bool]:
        return lambda: end.said("read the configuration again") >= times

    with end.watched(LOGINS):
        for number in range(sessions):
            clients.append(Client(end.port, number, who[number]))
            if number < forwards:
                ports.append(clients[-1].bind())
            clients[-1].refuse_heartbeats()
    with end.watched("nothing for ten seconds"):
        time.sleep(10)
    with end.watched("muxpy status"):
        assert len(end.status()["sessions"]) == sessions
    with end.watched("a scrape of the metrics"):
        assert f'muxpy_sessions{{state="connected"}} {sessions}.0' in end.metrics()
    with end.watched(f"{ASKED} connections to -R"):
        asked = [socket.create_connection(("127.0.0.1", port)) for port in ports[:ASKED]]
    for one in asked:
        one.close()
    with end.watched("SIGHUP, nothing changed", reloaded(1)):
        end.process.send_signal(signal.SIGHUP)
    if file is not None:
        text = file.read_text()
        lines = text.splitlines(keepends=True)
        file.write_text("".join(lines[: len(lines) // 4 * 2]))
        with end.watched("SIGHUP, half of the users revoked", left(sessions // 2)):
            end.process.send_signal(signal.SIGHUP)
        file.write_text(text)
        with end.watched("SIGHUP, all users back", reloaded(3)):
            end.process.send_signal(signal.SIGHUP)
    with end.watched("all clients gone at one moment", left(0)):
        for client in clients:
            client.close()
    clients.clear()
    with end.watched("logins of half as many"):
        for number in range(sessions // 2):
            clients.append(Client(end.port, number, who[number]))
            if number < forwards:
                clients[-1].bind()
            clients[-1].refuse_heartbeats()
    with end.watched("SIGTERM: graceful shutdown", lambda: end.process.poll() is not None):
        end.process.send_signal(signal.SIGTERM)


def measured(sessions: int, options: list[str], *, users: bool) -> dict[str, list[float]]:
    """The rows of one `muxpy listen`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    forwards = min(sessions, hard - sessions - SPARE) if hard != resource.RLIM_INFINITY else sessions
    whose = "each a user's of its own" if users else "all nobody's in particular"
    print(f"{sessions:,} sessions, {forwards:,} with a -R, {whose}")
    print(f"{'longest pass, its longest step, ms':45}{'clock':>10}{'processor':>10}{'step':>10}{'s in all':>10}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tokens.toml") if users else None
        who = tokens(file, sessions) if file is not None else [None] * sessions
        known = ["--tokens", str(file)] if file is not None else []
        with listening(Path(folder), *known, *options) as end:
            measure(end, sessions, forwards, file, who)
            return end.rows


def main() -> int:
    """0 if nothing took more than BOUND of the processor's time."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("sessions", nargs="?", type=int, default=MANY)
    arguments.add_argument("listen", nargs="*", default=[])
    given = arguments.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    columns = [measured(given.sessions, given.listen, users=users) for users in (False, True)]
    found = {what: [cell for rows in columns for cell in rows.get(what, (nan, nan))] for what in columns[1]}
    head = ["nobody's: longest pass, ms", "longest step", "users': longest pass, ms", "longest step"]
    shown = {what: ["" if isnan(cell) else f"{cell:.0f}" for cell in cells] for what, cells in found.items()}
    keep("scale", f"{given.sessions:,} sessions, in milliseconds of the processor's time", head, shown)
    return 1 if any(cell > BOUND for cells in found.values() for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main())

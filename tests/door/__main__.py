"""What strangers and other users cost, and what honest clients notice of it: `python -m tests.door`, some two minutes.

The listening end, the echo server behind it, those who mean harm and those who mean well are processes of their own.
The listening end has a processor for itself, and among the others those who mean harm come last: what is measured is
what they do to the honest at the listening end, not on the machine of its clients.
The table is kept for docs/security.md; `python -m tests.documented` puts it there.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from tests.cli.faults.ends import End, started
from tests.cli.faults.strangers import many_descriptors
from tests.cli.program import ENVIRONMENT, ROOT, run
from tests.documented import keep
from tests.helpers import processes

from .honest import Return, echo_times, login_times
from .hostile import KINDS, MIXED, RESETS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CORES: Final = sorted(os.sched_getaffinity(0))
"""The listening end has the first, everybody else the others, if there are any."""

STRANGERS: Final = 256
CLIENTS: Final = 1000
SESSIONS: Final = 64
KIB: Final = 1024


@asynccontextmanager
async def helper(*command: str, last: bool = False, **environment: str) -> AsyncIterator[str]:
    """A process of Python; the first line that it says. Killed at the end. If it comes last, it has only the processor
    time that nobody else wants."""
    environment = ENVIRONMENT | environment
    async with processes.started([sys.executable, *command], env=environment, cwd=ROOT) as process:
        if last:
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        assert process.stdout is not None
        said = b""
        while b"\n" not in said:
            said += await process.stdout.receive_some() or b"\n"
        yield said.decode().strip()


class Scene:
    """A listening end, and how it is measured."""

    def __init__(
        self, listening: End, port: int, target: int, seconds: float, tokens: dict[str, str], *, tls: bool
    ) -> None:
        self.listening, self.port, self.target, self.seconds, self.tls = listening, port, target, seconds, tls
        self.tokens = tokens

    @property
    def processor(self) -> float:
        """Seconds of processor time that the listening end has used."""
        fields = Path(f"/proc/{self.listening.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @asynccontextmanager
    async def beside(self, kind: str | None) -> AsyncIterator[None]:
        """While such strangers are there."""
        if kind is None:
            yield
            return
        tls = ["tls"] if self.tls else []
        async with helper("-m", "tests.door.hostile", kind, str(self.port), str(STRANGERS), *tls, last=True):
            yield
        await trio.sleep(1)  # until those that were killed have gone

    async def echo(self, kind: str | None) -> str:
        """Median and the 99th percentile of an honest echo, and the share of a processor."""
        async with self.beside(kind):
            used, begun = self.processor, trio.current_time()
            times = sorted(await echo_times(self.port, self.target, self.seconds, tls=self.tls))
            share = (self.processor - used) / (trio.current_time() - begun)
        return f"{_ms(times, 0.5)} / {_ms(times, 0.99)} / {100 * share:.0f} %"

    async def beside_user(self, sessions: int) -> str:
        """The same beside another user with so many sessions that open and reset streams in turns."""
        tls = ["tls"] if self.tls else []
        command = "-m", "tests.door.hostile", RESETS, str(self.port), str(sessions), *tls
        async with helper(*command, last=True, MUXPY_TOKEN=self.tokens["hostile"]):
            await trio.sleep(1)  # until all have logged in
            used, begun = self.processor, trio.current_time()
            token = self.tokens["honest"]
            times = sorted(await echo_times(self.port, self.target, self.seconds, tls=self.tls, token=token))
            share = (self.processor - used) / (trio.current_time() - begun)
        return f"{_ms(times, 0.5)} / {_ms(times, 0.99)} / {100 * share:.0f} %"

    async def login(self) -> str:
        """Median and the longest of honest logins, and the share of a processor."""
        async with self.beside("connects"):
            used, begun = self.processor, trio.current_time()
            times = sorted(await login_times(self.port, self.seconds, tls=self.tls))
            share = (self.processor - used) / (trio.current_time() - begun)
        return f"{_ms(times, 0.5)} / {_ms(times, 1)} / {100 * share:.0f} %"

    async def memory(self, kind: str) -> str:
        """KiB that the listening end has grown by for each stranger."""
        before = self.listening.resident
        async with self.beside(kind):
            await trio.sleep(1)
            return f"{(self.listening.resident - before) / STRANGERS / KIB:.0f}"

    async def come_back(self) -> str:
        """Seconds until the last of the clients is in, and processor time of the listening end."""
        used = self.processor
        clients = Return(self.port, self.tls, CLIENTS)
        await clients.run()
        return f"{max(clients.times):.1f} / {self.processor - used:.1f}"


def _ms(times: list[float], part: float) -> str:
    return f"{1000 * times[min(len(times) - 1, int(len(times) * part))]:.1f}"


async def measure(seconds: float) -> dict[str, list[str]]:
    """All rows, for TCP and TLS."""
    rows: dict[str, list[str]] = {}
    with TemporaryDirectory() as folder, many_descriptors():
        await run("keygen", folder, "--name", "localhost")
        users = f"{folder}/tokens.toml"
        names = "honest", "hostile"
        tokens = {name: (await run("token", "new", name, "--file", users))[1].split()[-1] for name in names}
        certificate = "--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem"
        async with helper("-m", "tests.door.target") as target:
            for tls in (False, True):
                steps: list[tuple[str, Callable[[Scene], Awaitable[str]]]] = [
                    ("honest echo alone", partial(Scene.echo, kind=None)),
                    *((f"beside {STRANGERS}: {kind}", partial(Scene.echo, kind=kind)) for kind in (*KINDS, MIXED)),
                    ("honest login beside 1,000 connects a second", Scene.login),
                    *((f"memory of a stranger, KiB: {kind}", partial(Scene.memory, kind=kind)) for kind in KINDS),
                    (f"{CLIENTS:,} clients behind one address are back", Scene.come_back),
                    *(
                        (
                            f"beside a user's sessions of resets: {sessions}",
                            partial(Scene.beside_user, sessions=sessions),
                        )
                        for sessions in (1, SESSIONS)
                    ),
                ]
                for name, step in steps:
                    with_users = ("--tokens", users) if "user's" in name else ()
                    options = (*(certificate if tls else ()), *with_users)
                    async with started("listen", "0", "--max-sessions", "100000", *options) as listening:
                        port = await listening.port("listening on")
                        os.sched_setaffinity(listening.process.pid, CORES[:1])
                        scene = Scene(listening, port, int(target), seconds, tokens, tls=tls)
                        rows.setdefault(name, []).append(await step(scene))
                    print(f"{name:55}{'TLS' if tls else 'TCP':>5}{rows[name][-1]:>25}", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.door", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each echo and login")
    seconds = parser.parse_args().seconds
    os.sched_setaffinity(0, CORES[1:] or CORES)
    rows = trio.run(measure, seconds)
    what = (
        "Echo: median and 99th percentile in ms, and what the listening end took of a processor. Login: median and"
        " longest in ms, and the same. Clients that are back: seconds until the last is in, and seconds of processor"
        f" time; each for {seconds:g} s"
    )
    keep("door", what, ["TCP", "TLS"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Starts the two processes and leads them through rounds of load and rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
import trustme

from .verdict import faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["ROLES", "Record", "Settings", "SoakError", "soak"]

ROOT: Final = Path(__file__).parents[2]
ROLES: Final = ("server", "client")

START: Final = 30.0
"""Seconds that a process may take to start."""

ANSWER: Final = 90.0
"""Seconds that it may take to answer: the last streams of a round have to end, each within its own limit."""


class SoakError(Exception):
    """A process ended, or does not answer; in its own words."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how much."""

    seconds: float
    rounds: int
    seed: int
    tasks: int = 5
    """That open streams, for each end of a session."""
    slots: int = 3
    """Sessions that come and go, of each kind; beside them one lasts."""


@dataclass(slots=True)
class Record:
    """What a run has seen so far."""

    settings: Settings
    started: float = field(default_factory=time.monotonic)
    round: int = 0
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {role: [] for role in ROLES})
    rests: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {role: [] for role in ROLES})
    errors: list[str] = field(default_factory=list)
    finished: bool = False

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def latest(self, role: str) -> dict[str, Any]:
        """What one process said last; empty if it has said nothing yet."""
        return max((*self.samples[role], *self.rests[role]), key=lambda said: said["time"], default={})

    def faults(self) -> list[str]:
        """Everything that is wrong. In a run that was broken off only what the processes noticed themselves."""
        if not self.finished:
            seen = [f"{role}: {failure}" for role in ROLES for failure in self.latest(role).get("failures", ())]
            return self.errors + seen
        return self.errors + [fault for role in ROLES for fault in faults(role, self.rests[role])]


class End:
    """One process."""

    def __init__(self, role: str, process: trio.Process, record: Record, changed: Callable[[], None]) -> None:
        self.role = role
        self._process = process
        self._record = record
        self._changed = changed
        self._send, self.answers = trio.open_memory_channel[dict[str, Any]](100)

    async def listen(self) -> None:
        """Take down what it says, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async with self._send:
            async for data in self._process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await self._heard(json.loads(line))

    async def _heard(self, said: dict[str, Any]) -> None:
        said["time"] = self._record.now
        what = said.pop("what")
        if what == "sample":
            self._record.samples[self.role].append(said)
            self._changed()
        else:
            if what == "rest":
                self._record.rests[self.role].append(said)
            await self._send.send(said)

    async def do(self, command: str, limit: float = ANSWER) -> dict[str, Any]:
        """Have it do something, and wait until it has."""
        assert self._process.stdin is not None
        try:
            with trio.fail_after(limit):
                if command:
                    await self._process.stdin.send_all(f"{command}\n".encode())
                return await self.answers.receive()
        except (trio.EndOfChannel, trio.BrokenResourceError):
            raise SoakError(f"the {self.role} has ended") from None
        except trio.TooSlowError:
            raise SoakError(f"the {self.role} has not done {command!r} in {limit:.0f} s") from None


async def soak(record: Record, changed: Callable[[], None]) -> None:
    """Run it all. Raises SoakError; what was seen until then is in the record."""
    settings = record.settings
    with tempfile.TemporaryDirectory() as folder:
        certificate, authority = _certificates(Path(folder))
        common = {"seed": settings.seed, "tasks": settings.tasks, "slots": settings.slots}
        async with AsyncExitStack() as stack:
            own = {**common, "certificate": certificate}
            server = await stack.enter_async_context(_started("server", own, record, changed))
            ports = (await server.do("", START))["ports"]
            own = {**common, "seed": settings.seed + 1, "authority": authority, "ports": ports}
            client = await stack.enter_async_context(_started("client", own, record, changed))
            await _rounds(record, [server, client])
    record.finished = True


async def _rounds(record: Record, ends: list[End]) -> None:
    settings = record.settings
    for command in ("prime", "fill"):
        for end in reversed(ends):  # the client, which has opened its sessions then, and so the server has them too
            await end.do(command)
    await _both(ends, "rest")
    for record.round in range(1, settings.rounds + 1):
        await _both(ends, "load")
        await trio.sleep(settings.seconds / settings.rounds)
        await _both(ends, "stop")
        await _both(ends, "rest")
    for end in ends:
        await end.do("fill")
    await _both(ends, "rest")


async def _both(ends: list[End], command: str) -> None:
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.do, command)


def _certificates(folder: Path) -> tuple[str, str]:
    """Files with a certificate and its key, and with who is to be trusted for it."""
    authority = trustme.CA()
    certificate, trusted = folder / "certificate.pem", folder / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(trusted)
    return str(certificate), str(trusted)


@asynccontextmanager
async def _started(
    role: str, settings: dict[str, Any], record: Record, changed: Callable[[], None]
) -> AsyncIterator[End]:
    # A session of its own, so that Ctrl-C reaches only this process. One arena, or threads' ones would blur memory.
    command = [sys.executable, "-m", "tests.soak.end", role, json.dumps(settings)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    with tempfile.TemporaryFile() as errors:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            start_new_session=True,
            env=environment,
        )
        try:
            async with trio.open_nursery() as nursery:
                end = End(role, process, record, changed)
                nursery.start_soon(end.listen)
                yield end
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
            errors.seek(0)
            if words := errors.read().decode(errors="replace").strip():
                record.errors.append(f"{role}: {words[-2000:]}")


async def _end(process: trio.Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with trio.move_on_after(5):
        await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()

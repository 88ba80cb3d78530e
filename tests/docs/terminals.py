"""Plays what terminals show: the commands as they stand there, but for ports, and what each prints.

A line `name$ command` is typed in the terminal `name`. What follows, up to the next such line, is what it prints; for a
program that goes on running, all that it prints up to the end of the block. `...` stands for whatever may stand there.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from tests.cli.program import ENVIRONMENT, free_port
from tests.cli.real._programs import SERVER_PLACES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["Terminals", "terminals"]

TYPED: Final = re.compile(r"^(?P<terminal>\w*)\$ (?P<command>(?:.*\\\n)*.*)\n", re.MULTILINE)
FORWARD: Final = re.compile(r" (-[LRD]|--http-proxy) ")
STAYS: Final = {
    r"muxpy listen ": r"^listening on ",
    r"muxpy connect (?!.* -W )": r"^(forwarding|SOCKS|HTTP) ",
    r"python3 -m http\.server ": r"^Serving HTTP ",
    r"redis-server ": r"eady to accept connections",
    r"dnsmasq ": r"started",
    r"python serve\.py": "",  # prints nothing: see `_listening`
}
"""What runs until it is ended, and what it prints when it can be used, `muxpy connect` once for each forward."""
PORT: Final = re.compile(r"(?<![\w./-])[1-9]\d{3}(?![\w.-])")
"""What the commands of the pages have no other number like."""
LOOSE: Final = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), r"\d\d:\d\d:\d\d"),  # a time of day
    (re.compile(r"\b\d\d/\w{3}/\d{4}\b"), r"\d\d/\w{3}/\d{4}"),
    (re.compile(r"\b5\d{4}\b"), r"\d+"),  # a port that the system has picked
    (re.compile(r"\b\d+\.\d+ ?m?s\b"), r"[\d.]+ ?m?s(?: \(\d+:\d\d:\d\d\))?"),  # how long something took
    (re.compile(r"\.\.\."), r".*"),
)


class Step(NamedTuple):
    """A command, and what it prints."""

    terminal: str
    command: str
    printed: str


def steps(text: str) -> Iterator[Step]:
    """The commands of a block."""
    found = list(TYPED.finditer(text))
    assert found[0].start() == 0, f"something is printed before the first command: {text!r}"
    for match, end in zip(found, [*(later.start() for later in found[1:]), len(text)], strict=True):
        command = re.sub(r" +#.*$", "", match["command"], flags=re.MULTILINE)
        yield Step(match["terminal"], command, text[match.end() : end])


def expected(printed: str) -> re.Pattern[str]:
    """What a command may print where a page says `printed`."""
    return re.compile("".join(r"(?:.*\n)*?" if line == "..." else f"{_loose(line)}\n" for line in printed.splitlines()))


def _loose(line: str) -> str:
    found = [(match, pattern) for place, pattern in LOOSE if (match := place.search(line))]
    if not found:
        return re.escape(line)
    match, pattern = min(found, key=lambda one: one[0].start())
    return re.escape(line[: match.start()]) + pattern + _loose(line[match.end() :])


class Running:
    """A program that stays, and all that it has printed."""

    def __init__(self, step: Step, process: trio.Process) -> None:
        self.step = step
        self.process = process
        self.output = ""
        self._news = trio.Event()

    async def collect(self) -> None:
        """Read until it ends."""
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.output += chunk.decode()
            self._tell()
        await self.process.wait()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def ready(self) -> None:
        """Until it has begun to do what it is there for."""
        (ready,) = {ready for start, ready in STAYS.items() if re.match(start, self.step.command)}
        wanted = len(FORWARD.findall(self.step.command)) or 1
        while len(re.findall(ready, self.output, re.MULTILINE)) < wanted:
            await self._more("is not ready")

    async def printed(self) -> None:
        """Until it has printed what the page says, and nothing else."""
        pattern = expected(self.step.printed)
        while self.step.printed and not pattern.fullmatch(self.output):
            enough = self.output.count("\n") >= self.step.printed.count("\n")
            assert not enough, f"{self.step.command} printed\n{self.output}and not\n{self.step.printed}"
            await self._more("has not printed all")

    async def _more(self, otherwise: str) -> None:
        assert self.process.returncode is None, f"{self.step.command} has ended, but {otherwise}: {self.output}"
        await self._news.wait()

    async def end(self) -> None:
        """By SIGTERM, in order."""
        self.process.terminate()
        await self.process.wait()
        if self.step.command.startswith("muxpy"):
            assert self.process.returncode == 0, self.output


class Terminals:
    """Terminals of one machine, whose commands share a folder."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self.words: dict[str, str] = {}
        """What is typed in place of what a page says."""
        self.answers: dict[str, str] = {}
        """What a command of this name prints, if the page does not say."""
        self._nursery = nursery
        self._running: list[Running] = []
        self._ports: dict[str, str] = {}
        self._programs = folder / "bin"
        self._programs.mkdir()
        for name, line in {"muxpy": "-m muxpy_cli", "python": "", "python3": ""}.items():
            path = self._programs / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {line} "$@"\n')
            path.chmod(0o755)
        (folder / ".curlrc").write_text("silent\nshow-error\n")  # as on a terminal: no meter

    def port(self, number: int) -> int:
        """The port that stands for this one."""
        return int(self._ports.setdefault(str(number), str(free_port())))

    def write(self, name: str, text: str) -> None:
        """Put a file into the folder."""
        (self.folder / name).write_text(self._adapted(text))

    async def play(self, text: str, code: int = 0) -> None:
        """Type all commands. Those that end must end with `code`."""
        for step in steps(text):
            if any(re.match(start, step.command) for start in STAYS):
                await self._start(step)
            else:
                await self._finish(step, code)
        for running in self._running:
            await running.printed()

    async def _start(self, step: Step) -> None:
        step = Step(step.terminal, self._adapted(step.command), self._adapted(step.printed))
        process = await trio.lowlevel.open_process(
            ["bash", "-c", f"exec {step.command}"],
            cwd=self.folder,
            env=self._environment(step.terminal),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running = Running(step, process)
        self._running.append(running)
        self._nursery.start_soon(running.collect)
        await running.ready()
        if step.command.startswith("python serve.py"):
            await _listening(self.port(4000))
        if step.command.startswith("muxpy listen"):
            self.words["4711"] = str(process.pid)

    async def _finish(self, step: Step, code: int) -> None:
        command = self._adapted(step.command)
        done = await trio.run_process(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment(step.terminal),
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = done.stdout.decode()
        assert done.returncode == code, f"{command}: {done.returncode}: {output}"
        if wanted := self._adapted(step.printed) or self.answers.get(command.partition(" ")[0], ""):
            assert expected(wanted).fullmatch(output), f"{command} printed\n{output}and not\n{wanted}"
        if fingerprint := re.search(r"sha256:[0-9a-f]{64}", output):
            self.words.setdefault("sha256:...", fingerprint[0])

    def _adapted(self, text: str) -> str:
        places = "|".join([*map(re.escape, self.words), PORT.pattern])
        return re.sub(places, lambda match: self.words.get(match[0]) or str(self.port(int(match[0]))), text)

    def _environment(self, terminal: str) -> dict[str, str]:
        """Terminals stand for machines, too: `muxpy status` must find the programs of its own."""
        runtime = self.folder / f"run-{terminal}"
        runtime.mkdir(exist_ok=True)
        clean = {key: value for key, value in ENVIRONMENT.items() if not key.lower().endswith("_proxy")}
        path = os.pathsep.join([str(self._programs), clean.get("PATH", os.defpath), *SERVER_PLACES])
        own = {"PATH": path, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(runtime), "PYTHONUNBUFFERED": "1"}
        return {**clean, **own}

    async def end(self) -> None:
        """End what runs, the latest first."""
        for running in reversed(self._running):
            await running.end()

    async def kill(self) -> None:
        """End at once what still runs."""
        for running in self._running:
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            await running.process.wait()
            if running.process.stdout is not None:
                await running.process.stdout.aclose()


async def _listening(port: int) -> None:
    """Until somebody listens there."""
    while True:
        with suppress(OSError):
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            return
        await trio.sleep(0.01)


@asynccontextmanager
async def terminals() -> AsyncIterator[Terminals]:
    """Terminals; what they still run at the end of the block must end in order."""
    with tempfile.TemporaryDirectory(prefix="muxpy-") as folder:
        async with trio.open_nursery() as nursery:
            them = Terminals(Path(folder), nursery)
            try:
                yield them
                await them.end()
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await them.kill()

"""What `make fuzz` runs: each part takes a number of seconds and reports."""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from . import running
from .corpus import load, seeds, unpack
from .running import ROOT, WORK
from .targets import CANARY, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PARTS", "Part", "Report", "parts_named"]

MACHINES = (
    "tests/proto/test_pair.py",
    "tests/proto/test_arbitrary_input.py",
    "tests/frame/test_decoder.py",
    "tests/frame/http2/test_decoder.py",
    "tests/frame/http2/test_hpack_oracle.py",
)
DIFFERENTIAL = {
    "differential": ("tests.fuzz.differential", "tests.interop.gopeer"),
    "http2_differential": ("tests.fuzz.differential.http2", "tests.interop.http2.gopeer"),
}
"""What plays, and which Go program it needs."""
SEEDS = 1 << 32


@dataclass
class Report:
    """What came of a part. Each failure says how to see it again."""

    name: str
    summary: str
    failures: list[str] = field(default_factory=list)


def not_run(name: str, missing: str) -> Report:
    """A part that lacks what it needs is skipped; where everything must be there, it has failed."""
    required = os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1"
    return Report(name, f"skipped: {missing}", [missing] if required else [])


@dataclass(frozen=True)
class Part:
    """One thing to run. `share` is its part of the time, beside the others'."""

    name: str
    share: float
    run: Callable[[float], Report]


def parts_named(names: list[str]) -> list[Part]:
    """The parts of these names, or whose names begin so, as rpc_calls with rpc; all if there are no names. Raises
    LookupError."""
    known = (*PARTS, Part(CANARY.name, 1, partial(run_target, CANARY.name)))
    chosen = []
    for name in names:
        found = [part for part in known if part.name == name or part.name.startswith(f"{name}_")]
        if not found:
            raise LookupError(f"no part is called {name!r}; there are {', '.join(part.name for part in PARTS)}")
        chosen += found
    return chosen or list(PARTS)


def run_target(name: str, seconds: float) -> Report:
    """Fuzz a target: what is kept is where it begins, what it finds stays in the working folder."""
    missing = running.why_missing()
    if missing is not None:
        return not_run(name, missing)
    folder = WORK / name
    unpack([*load(name), *seeds(name)], folder / "kept")
    outcome = running.fuzz(name, folder / "kept", folder, seconds=seconds)
    summary = (
        f"{outcome.executed} inputs, {outcome.coverage} edges, {outcome.features} features, {outcome.found} inputs new"
    )
    if outcome.error is None:
        return Report(name, summary)
    commands = [f"python -m tests.fuzz.replay {name} {os.path.relpath(path)}" for path in outcome.reproducers]
    return Report(name, summary, ["\n    ".join([outcome.error, *commands])])


def run_machines(seconds: float) -> Report:
    """The tests with Hypothesis, with new seeds until the time is over."""
    log = WORK / "machines.txt"
    return repeat("machines", seconds, log, lambda seed: machines_command(seed, *MACHINES))


def machines_command(seed: int, *paths: str) -> list[str]:
    """The tests with Hypothesis from one seed."""
    options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout=300", f"--hypothesis-seed={seed}"]
    return [sys.executable, "-m", "pytest", *options, *paths]


def repeat(name: str, seconds: float, log: Path, command: Callable[[int], list[str]]) -> Report:
    """Run a command with new seeds until the time is over or it fails."""
    end = time.monotonic() + seconds
    runs = 0
    log.parent.mkdir(parents=True, exist_ok=True)
    while runs == 0 or time.monotonic() < end:
        arguments = command(random.randrange(SEEDS))
        with log.open("wb") as output:
            code = running.run(arguments, output.fileno(), None)
        runs += 1
        if code:
            shown = " ".join(["python", *arguments[1:]])
            return Report(name, f"{runs} runs", [f"failed; its output is in {os.path.relpath(log)}\n    {shown}"])
    return Report(name, f"{runs} runs, each with a seed of its own")


def run_differential(name: str, seconds: float) -> Report:
    """Random operations with a Go peer and with muxpy in its place: of muxado, or of HTTP/2."""
    module, program = DIFFERENTIAL[name]
    missing = import_module(program).PROGRAM.why_missing()
    if missing is not None:
        return not_run(name, missing)
    log = WORK / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    seed = random.randrange(SEEDS)
    arguments = [sys.executable, "-m", module, "--seconds", f"{seconds:.0f}", "--seed", str(seed)]
    with log.open("wb") as output:
        code = running.run(arguments, output.fileno(), seconds + 2 * running.PATIENCE)
    lines = log.read_text(errors="replace").splitlines() or ["nothing was said"]
    if not code:
        return Report(name, lines[-1])
    return Report(name, f"from seed {seed}", [f"failed; its output is in {log.relative_to(ROOT)}", *lines[-12:]])


PARTS = (
    *(
        Part(target.name, 2 if target.name == "connection" else 1, partial(run_target, target.name))
        for target in TARGETS
    ),
    Part("machines", 1, run_machines),
    *(Part(name, 1, partial(run_differential, name)) for name in DIFFERENTIAL),
)
"""Everything, in order. The connection takes twice the time of the others: it has the most to find."""

"""Runs targets under atheris, each in a process of its own, and reads what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PROGRAM", "ROOT", "WORK", "Outcome", "fuzz", "merge", "why_missing"]

ROOT = Path(__file__).parent.parent.parent
WORK = ROOT / "build" / "fuzz"
"""Where new inputs, reproducers and logs go; git ignores it."""

INPUT_TIMEOUT = 20
"""Seconds for one input: far more than any takes on a slow machine, so what takes longer hangs."""

MEMORY = 1024
"""Megabytes that a target may use. They take about 60."""

PROGRAM = "MUXPY_FUZZ_PROGRAM"
"""Names, in the environment, a program that is a target with its options."""

PATIENCE = 60.0
"""Seconds that a process may take beyond its time to end."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run of a target."""

    name: str
    executed: int
    coverage: int
    """Edges reached in muxpy's code."""
    features: int
    """Edges, and how often each is taken in powers of two."""
    found: int
    """Inputs that reached something new."""
    reproducers: list[Path]
    error: str | None
    """Why it failed; None if it did not."""


def why_missing() -> str | None:
    """Say what must be installed before targets can be fuzzed; None if nothing is missing."""
    if find_spec("atheris") is not None:
        return None
    return "atheris is missing: pip install 'atheris>=3' (Linux on x86-64)"


def environment() -> dict[str, str]:
    """For a process that imports this checkout."""
    path = [str(ROOT), str(ROOT / "cli"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def command(name: str, *arguments: str) -> list[str]:
    """One target with options and folders of libFuzzer."""
    limits = (f"-timeout={INPUT_TIMEOUT}", f"-rss_limit_mb={MEMORY}", "-print_final_stats=1")
    return [sys.executable, "-m", "tests.fuzz.under_atheris", name, *limits, *arguments]


def fuzz(name: str, seeds: Path, work: Path, *options: str, seconds: float | None = None) -> Outcome:
    """Fuzz a target from the inputs in `seeds`. New ones, reproducers and the log go to `work`."""
    found, crashes = work / "found", work / "crashes"
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir()), set(found.iterdir())
    limit = () if seconds is None else (f"-max_total_time={max(1, round(seconds))}",)
    log = work / "log.txt"
    with log.open("wb") as output:
        # libFuzzer writes to the first folder only.
        arguments = (*limit, *options, f"-artifact_prefix={crashes}/", str(found), str(seeds))
        code = run(command(name, *arguments), output.fileno(), None if seconds is None else seconds + PATIENCE)
    text = log.read_text(errors="replace")
    reproducers = sorted(set(crashes.iterdir()) - before[0])
    failed = f"{name} ended with exit code {code}; its output is in {log}" if code or reproducers else None
    return Outcome(
        name,
        executed=last_number(r"number_of_executed_units:\s+(\d+)", text) or last_number(r"^#(\d+)\s", text),
        coverage=last_number(r"cov: (\d+)", text),
        features=last_number(r"ft: (\d+)", text),
        found=len(set(found.iterdir()) - before[1]),
        reproducers=reproducers,
        error=failed,
    )


def merge(name: str, target: Path, folders: list[Path], scratch: Path) -> None:
    """Copy to `target` as few inputs as reach all that those in `folders` reach."""
    # libFuzzer starts itself again for each input that it must begin anew after, by the name that it was started with.
    program = scratch / "program"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command(name))} "$@"\n')
    program.chmod(0o700)
    sources = [str(folder) for folder in folders if folder.exists()]
    arguments = command(name, "-set_cover_merge=1", str(target), *sources)
    env = {**environment(), PROGRAM: str(program)}
    subprocess.run(arguments, cwd=ROOT, env=env, check=True, capture_output=True)


def run(arguments: list[str], output: int, timeout: float | None) -> int:
    """Run a process to its end. If it hangs, or this one is interrupted, it is ended too."""
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return -1
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def last_number(pattern: str, text: str) -> int:
    """The last number that a pattern finds; 0 if none."""
    numbers = re.findall(pattern, text, re.MULTILINE)
    return int(numbers[-1]) if numbers else 0

"""Rounds in which the contenders take turns: the speed of a machine drifts, and must drift alike for all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from .calls import LIBRARIES
from .contenders import CONTENDERS
from .measures import GO_HTTP
from .model import Entry, Job, Measure, Round, Sample
from .outcome import Outcome
from .processes import RunError, run, serving

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Options", "Programs", "run_measure", "runs_of"]

PATIENCE: Final = 60.0
"""Seconds that a run may take; some are added for each of --seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the contenders' programs are."""

    go: Mapping[str, Path | str] = field(default_factory=dict)
    """The program of each Go contender, or why there is none."""

    def missing(self, contender: str) -> str | None:
        """Why a contender cannot take part; None if it can."""
        if contender in CONTENDERS:
            return CONTENDERS[contender].missing()
        if contender in LIBRARIES:
            return LIBRARIES[contender].missing()
        program = self.go.get(contender, "it is not built")
        return program if isinstance(program, str) else None

    def command(self, contender: str, verb: str, *arguments: str) -> list[str]:
        """The command that starts one end."""
        if contender in CONTENDERS or contender in LIBRARIES:
            return [sys.executable, "-m", "benchmarks.peer", verb, contender, *arguments]
        if contender == GO_HTTP and verb == "run":  # it only serves
            return self.command("tcp", verb, *arguments)
        return [str(self.go[contender]), verb, contender.removeprefix("go-"), *arguments]


Started: TypeAlias = Callable[[Entry], None]


def runs_of(measures: Sequence[Measure], options: Options) -> int:
    """How many runs the measures take, for the progress."""
    return sum(_rounds(measure, options) * len(measure.entries) for measure in measures)


async def run_measure(measure: Measure, programs: Programs, options: Options, on_start: Started) -> Outcome:
    """Run all rounds. A contender that is missing or fails is noted; the others go on."""
    outcome = Outcome(measure)
    for entry in measure.entries:
        reason = programs.missing(entry.contender)
        if reason is not None:
            outcome.missing[entry.name] = reason
    for _ in range(_rounds(measure, options)):
        samples: Round = {}
        for entry in measure.entries:
            on_start(entry)
            if entry.name in outcome.missing:
                continue
            try:
                samples[entry.name] = await run_once(measure, entry, programs, options)
            except RunError as error:
                outcome.failed[entry.name] = str(error)
        if measure.derive is not None:
            measure.derive(samples, measure)
        for name, sample in samples.items():
            outcome.samples.setdefault(name, []).append(sample)
    return outcome


async def run_once(measure: Measure, entry: Entry, programs: Programs, options: Options) -> Sample:
    """One run of one contender: a new server, a new client, and the link between them if there is one."""
    job = _scaled(entry.job, options.seconds)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(programs.command(entry.contender, "serve")))
        port = server.pop("port")
        if measure.link is not None:
            link = [str(port), str(measure.link.rtt), str(measure.link.rate)]
            between = await stack.enter_async_context(serving([sys.executable, "-m", "benchmarks.link", *link]))
            port = between["port"]
        command = programs.command(entry.contender, "run", str(port), json.dumps({**job, **server}))
        return await run(command, PATIENCE + 20 * options.seconds)


def _rounds(measure: Measure, options: Options) -> int:
    return min(options.rounds, measure.rounds or options.rounds)


def _scaled(job: Job, seconds: float) -> dict[str, object]:
    """The job with its times in seconds."""
    scaled = dict(job)
    least = scaled.pop("least", 0.0)
    for key in ("seconds", "warmup"):
        if key in job:
            scaled[key] = max(job[key] * seconds, least if key == "seconds" else 0)
    return scaled

"""Run the measures, or some of them: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from rich.console import Console

from .machine import describe
from .measures import GO, GROUPS, MEASURES
from .outcome import Outcome, as_json
from .progress import Progress
from .report import summary
from .runner import Options, Programs, run_measure, runs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import Measure

__all__ = ["main"]

OUTPUT: Final = Path("build/bench")

INTERRUPTED: Final = 130
"""The exit status that shells use for an end by Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    measures = [measure for measure in MEASURES if options.only in measure.group or options.only in measure.name]
    if not measures:
        print(f"nothing is called {options.only!r}; the groups are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    run_options = Options(options.rounds, options.seconds)
    outcomes = trio.run(_run_all, measures, run_options, console)
    if outcomes is None:
        print("interrupted: all processes have been ended, nothing was written", file=sys.stderr)
        return INTERRUPTED
    summary(console, outcomes)
    result = as_json(dict(describe()), {"rounds": options.rounds, "seconds": options.seconds}, outcomes)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"samples: {options.json}")
    _draw(outcomes, options.plots, console)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure muxpy beside its references.")
    parser.add_argument("--only", default="", metavar="TEXT", help="the measures whose group or name contains this")
    parser.add_argument("--rounds", type=_positive, default=3, help="rounds to take the median of (3)")
    parser.add_argument("--seconds", type=_seconds, default=1.0, help="length of one measurement (1.0)")
    parser.add_argument("--json", type=Path, default=OUTPUT / "results.json", metavar="FILE", help="where samples go")
    parser.add_argument("--plots", type=Path, default=OUTPUT, metavar="DIR", help="where plots go")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    if not 0 < (number := float(text)) <= 60:
        raise ValueError(text)
    return number


async def _run_all(measures: Sequence[Measure], options: Options, console: Console) -> list[Outcome] | None:
    """All outcomes; None if a signal ended it."""
    outcomes: list[Outcome] = []
    async with trio.open_nursery() as nursery:
        interrupted = await nursery.start(_cancel_on_signal, nursery.cancel_scope)
        programs = await _programs(measures, console)
        with Progress(console, runs_of(measures, options)) as progress:
            for measure in measures:
                outcome = await run_measure(measure, programs, options, progress.on_start(measure))
                outcomes.append(outcome)
                progress.show(outcome)
        nursery.cancel_scope.cancel()
    return None if interrupted.is_set() else outcomes


async def _cancel_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[trio.Event]) -> None:
    interrupted = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started(interrupted)
        async for _ in signals:
            interrupted.set()
            scope.cancel()


async def _programs(measures: Sequence[Measure], console: Console) -> Programs:
    """Build what has to be built."""
    if not any(entry.contender in GO for measure in measures for entry in measure.entries):
        return Programs()
    from .gopeers import build

    console.print("building the Go programs ...")
    return Programs(await trio.to_thread.run_sync(build, OUTPUT / "go"))


def _draw(outcomes: Sequence[Outcome], folder: Path, console: Console) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        console.print("plots skipped: matplotlib not found (pip install matplotlib)")
        return
    from .plots import draw

    for path in draw(outcomes, folder):
        console.print(f"plot: {path}")


if __name__ == "__main__":
    sys.exit(main())

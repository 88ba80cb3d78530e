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
from .measures import GO, GO_HTTP, GROUPS, MEASURES
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
    measures = [measure for measure in MEASURES if _wanted(measure, options.only)]
    if not measures:
        print(f"nothing is called {options.only!r}; the groups are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    output = OUTPUT / "part" if options.only else OUTPUT  # a part must not overwrite the whole
    samples, plots = options.json or output / "results.json", options.plots or output
    try:
        samples.parent.mkdir(parents=True, exist_ok=True)
        plots.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # before minutes of work are lost
        print(f"cannot write there: {error}", file=sys.stderr)
        return 2
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    run_options = Options(options.rounds, options.seconds)
    outcomes = trio.run(_run_all, measures, run_options, console)
    if outcomes is None:
        print("interrupted: all processes have been ended, nothing was written", file=sys.stderr)
        return INTERRUPTED
    summary(console, outcomes)
    result = as_json(dict(describe()), {"rounds": options.rounds, "seconds": options.seconds}, outcomes)
    samples.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"samples: {samples}")
    _draw(outcomes, plots, console)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure muxpy beside its references.")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="one group, or the measures whose name contains this"
    )
    parser.add_argument("--rounds", type=_positive, default=3, help="rounds to take the median of (3)")
    parser.add_argument("--seconds", type=_seconds, default=1.0, help="length of one measurement (1.0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"where samples go ({OUTPUT}/results.json)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help=f"where plots go ({OUTPUT})")
    return parser


def _wanted(measure: Measure, only: str) -> bool:
    return measure.group == only if only in GROUPS else only in measure.name


def _positive(text: str) -> int:
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 1, not {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 60:
        raise argparse.ArgumentTypeError(f"it must be more than 0 and at most 60, not {text!r}")
    return number


async def _run_all(measures: Sequence[Measure], options: Options, console: Console) -> list[Outcome] | None:
    """All outcomes; None if a signal ended the run."""
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
    if not any(entry.contender in (*GO, GO_HTTP) for measure in measures for entry in measure.entries):
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

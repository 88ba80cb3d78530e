"""Hours in minutes: two processes, sessions and streams that come and go in every way, and nothing may be left.

python -m tests.soak                       10 minutes; samples and a plot go to build/soak
python -m tests.soak --seconds 120         as long as you like
python -m tests.soak --draw SAMPLES.json   only the plot again, of a run that was
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
from rich.console import Console

from tests.documented import keep
from tests.helpers.arguments import seconds

from .report import figures_of, live_line, summary
from .run import ROLES, Record, Settings, SoakError, soak

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

OUTPUT: Final = Path("build/soak")

INTERRUPTED: Final = 130
"""The exit status that shells use for an end by Ctrl-C."""

SECONDS: Final = 600.0

ROUND: Final = 20.0
"""Seconds of load before each rest, about."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    plot: Path = options.plot or options.output / "soak.svg"
    if options.draw is not None:
        return _draw(json.loads(options.draw.read_text()), plot, console)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        plot.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # before minutes of work are lost
        print(f"cannot write there: {error}", file=sys.stderr)
        return 2
    rounds = options.rounds or max(2, round(options.seconds / ROUND))
    record = Record(Settings(options.seconds, rounds, options.seed))
    interrupted = trio.run(_run, record, console)
    figures = figures_of(record)
    console.print(summary(record, figures))
    result = _as_json(record)
    samples = options.output / "samples.json"
    samples.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"samples: {samples}")
    if not options.no_plot:
        _draw(result, plot, console)
    faults = record.faults()
    for fault in faults:
        console.print(f"FAULT: {fault}")
    if not interrupted and options.seconds >= SECONDS:
        keep("soak", f"{options.seconds:g} s, {rounds} rounds, seed {options.seed}", ROLES, figures)
    if interrupted:
        console.print("interrupted: both processes have been ended")
        return INTERRUPTED
    if not faults:
        console.print("passed: tasks, descriptors, streams and the library's objects are exactly those at first")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Look for what leaks in a long run.")
    parser.add_argument("--seconds", type=seconds, default=SECONDS, help=f"time under load ({SECONDS:g})")
    parser.add_argument("--rounds", type=int, help="rests in it (one every 20 s)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="the same streams again (any)")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help=f"where samples go ({OUTPUT})")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"where the plot goes ({OUTPUT}/soak.svg)")
    parser.add_argument("--no-plot", action="store_true", help="draw nothing")
    parser.add_argument("--draw", type=Path, metavar="SAMPLES", help="only draw these")
    return parser


async def _run(record: Record, console: Console) -> bool:
    """Whether a signal ended it."""
    interrupted = False
    with console.status("starting ...") as status:

        def show() -> None:
            status.update(live_line(record))

        async def cancel_on_signal(scope: trio.CancelScope) -> None:
            nonlocal interrupted
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    interrupted = True
                    scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
            try:
                await soak(record, show)
            except* SoakError as group:
                record.errors += [str(error) for error in _leaves(group)]
            nursery.cancel_scope.cancel()
    return interrupted


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _as_json(record: Record) -> dict[str, Any]:
    settings = record.settings
    return {
        "settings": {"seconds": settings.seconds, "rounds": settings.rounds, "seed": settings.seed},
        "finished": record.finished,
        "faults": record.faults(),
        "samples": record.samples,
        "rests": record.rests,
    }


def _draw(result: dict[str, Any], path: Path, console: Console) -> int:
    if importlib.util.find_spec("matplotlib") is None:
        console.print("plot skipped: matplotlib not found (pip install matplotlib)")
        return 0
    from .plot import draw

    if all(result["samples"].values()):
        console.print(f"plot: {draw(result, path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

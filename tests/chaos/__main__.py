"""Rounds over a bad link, with new seeds, for minutes: `python -m tests.chaos --help`. The rules are in `rounds`."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.documented import keep
from tests.helpers.arguments import seconds

from .plan import FAULTS, Fault
from .rounds import KINDS, STREAMS, Result, play_round

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

SECONDS: Final = 120.0
GROUP: Final = 5.0
"""Seconds of one kind before the next has its turn."""
INTERRUPTED: Final = 130
"""The exit status that shells use for an end by Ctrl-C."""
SHOWN: Final = 10
"""Violations of one round that are printed."""


@dataclass
class Summary:
    """What the rounds of one kind add up to."""

    rounds: int = 0
    streams: int = 0
    checked: int = 0  # bytes
    clean: int = 0
    broken: int = 0
    damaged: int = 0  # rounds in which the link did damage
    detected: int = 0  # of these, how many ended with an error of a session
    violations: int = 0  # rounds
    longest: float = 0.0  # seconds
    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """One more round."""
        tally = result.tally
        self.rounds += 1
        self.streams += tally.opened
        self.checked += tally.checked
        self.clean += len(tally.clean)
        self.broken += len(tally.failed)
        self.damaged += result.damaged > 0
        self.detected += result.damaged > 0 and bool(tally.broken)
        self.violations += bool(result.violations)
        self.longest = max(self.longest, result.seconds)
        self.faults[result.fault] += 1
        self.errors += tally.errors


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every rule was kept, 1 if one was broken, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    kinds = list(dict.fromkeys(options.kinds)) or list(KINDS)
    summaries = {kind: Summary() for kind in kinds}
    seed = random.randrange(1 << 31) if options.seed is None else options.seed
    print(f"seeds from {seed} on, {STREAMS} streams a round, {options.seconds:g} s", flush=True)
    interrupted = False
    try:
        _run(summaries, seed, options.seconds, options.rounds, options.fault)
    except* KeyboardInterrupt:
        interrupted = True
    rows = _rows(summaries)
    _print_summary(summaries, rows)
    if not interrupted and kinds == list(KINDS) and options.seconds >= SECONDS:
        keep("chaos", f"{options.seconds:g} s, seeds from {seed} on", kinds, rows)
    if any(summary.violations for summary in summaries.values()):
        return 1
    return INTERRUPTED if interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Two sessions over a bad link: exact bytes or an error, and no hang."
    )
    parser.add_argument("kinds", nargs="*", type=_kind, metavar="|".join(KINDS), help="the link; by turns if several")
    parser.add_argument("--seconds", type=seconds, default=SECONDS, help=f"how long ({SECONDS:g})")
    parser.add_argument("--seed", type=int, help="the first seed, to see a round again")
    parser.add_argument("--rounds", type=int, help="at most so many rounds of each kind")
    parser.add_argument("--fault", choices=FAULTS, help="this fault only")
    return parser


def _run(summaries: dict[str, Summary], seed: int, seconds: float, rounds: int | None, fault: Fault | None) -> None:
    """The kinds take turns; each has the same seeds."""
    end = time.monotonic() + seconds
    following = dict.fromkeys(summaries, seed)
    limit = seed + rounds if rounds is not None else float("inf")
    while time.monotonic() < end and min(following.values()) < limit:
        for kind, summary in summaries.items():
            group = Summary()
            group_end = min(end, time.monotonic() + GROUP)
            while time.monotonic() < group_end and following[kind] < limit:
                result = play_round(kind, following[kind], fault=fault)
                following[kind] += 1
                for total in (group, summary):
                    total.add(result)
                _print_violations(result, fault)
            if group.rounds:
                _print_group(kind, following[kind] - group.rounds, group)


def _print_group(kind: str, first: int, group: Summary) -> None:
    faults = ", ".join(f"{count} {fault}" for fault, count in sorted(group.faults.items()))
    print(
        f"{kind:11}  seeds {first}-{first + group.rounds - 1}  {group.checked / 1e6:7.1f} MB checked"
        f"  {group.clean:6} clean ends  {group.broken:6} errors  {group.violations} violations  ({faults})",
        flush=True,
    )


def _print_violations(result: Result, fault: Fault | None) -> None:
    if not result.violations:
        return
    only = f" --fault {fault}" if fault else ""
    print(f"VIOLATION in {result.kind}, fault {result.fault}; to see it again:", flush=True)
    print(f"    python -m tests.chaos --seed {result.seed} --rounds 1{only} {result.kind}")
    for line in result.violations[:SHOWN]:
        print(f"    {line}")
    if len(result.violations) > SHOWN:
        print(f"    ... and {len(result.violations) - SHOWN} more", flush=True)


def _rows(summaries: dict[str, Summary]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {
        "rounds": [f"{summary.rounds}" for summary in summaries.values()],
        "streams": [f"{summary.streams}" for summary in summaries.values()],
        "MB checked": [f"{summary.checked / 1e6:.1f}" for summary in summaries.values()],
        "clean ends": [f"{summary.clean}" for summary in summaries.values()],
        "ends with an error": [f"{summary.broken}" for summary in summaries.values()],
        "rounds with damage": [f"{summary.damaged}" for summary in summaries.values()],
        "noticed by a session": [f"{summary.detected}" for summary in summaries.values()],
        "longest round, s": [f"{summary.longest:.1f}" for summary in summaries.values()],
        "rounds with violations": [f"{summary.violations}" for summary in summaries.values()],
    }
    for fault in FAULTS:
        rows[f"rounds: {fault}"] = [f"{summary.faults[fault]}" for summary in summaries.values()]
    for error in sorted({name for summary in summaries.values() for name in summary.errors}):
        rows[error] = [f"{summary.errors[error]}" for summary in summaries.values()]
    return rows


def _print_summary(summaries: dict[str, Summary], rows: dict[str, list[str]]) -> None:
    width = max(map(len, rows))
    print("\n" + " " * width + "".join(f"{kind:>12}" for kind in summaries))
    for name, cells in rows.items():
        print(f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells))


def _kind(text: str) -> str:
    if text not in KINDS:
        raise argparse.ArgumentTypeError(f"it must be one of {', '.join(KINDS)}, not {text!r}")
    return text


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.fuzz [--seconds N] [PART...]`: look for inputs that break muxpy, for about N seconds in all.

A part is a target (such as decoder or pair), `machines`, Hypothesis' random sequences with ever new seeds, or
`differential` or `http2_differential`, the same operations with a Go peer and with muxpy in its place. Without any, all
take their share.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from tests.documented import keep
from tests.helpers.arguments import seconds

from .parts import PARTS, Report, parts_named

if TYPE_CHECKING:
    from .parts import Part

__all__ = ["main"]


SECONDS = 300.0


def main() -> None:
    """Run the parts one after another, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=seconds, default=SECONDS, help="for all parts together (default: %(default)g)"
    )
    parser.add_argument("part", nargs="*", help=f"one of {', '.join(part.name for part in PARTS)}")
    arguments = parser.parse_args()
    try:
        parts = parts_named(arguments.part)
    except LookupError as error:
        parser.error(str(error.args[0]))
    reports: list[Report] = []
    interrupted = False
    try:
        run(parts, arguments.seconds, reports)
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted: what follows is what was done so far")
    summarise(reports)
    if not interrupted and len(parts) == len(PARTS) and arguments.seconds >= SECONDS:
        keep(
            "fuzz", f"{arguments.seconds:g} s", ["what was done"], {report.name: [report.summary] for report in reports}
        )
    failed = any(report.failures for report in reports)
    sys.exit(1 if failed else 130 if interrupted else 0)


def run(parts: list[Part], seconds: float, reports: list[Report]) -> None:
    """Each part takes its share of the time."""
    whole = sum(part.share for part in parts)
    for part in parts:
        share = seconds * part.share / whole
        print(f"{part.name}: {share:.0f} s ...", flush=True)
        begun = time.monotonic()
        report = part.run(share)
        reports.append(report)
        print(f"{part.name}: {report.summary}, {time.monotonic() - begun:.0f} s", flush=True)


def summarise(reports: list[Report]) -> None:
    """A line for each part, then each failure with how to see it again."""
    print("\n---- summary")
    for report in reports:
        print(f"{report.name:<20}{'FAILED' if report.failures else 'ok':<8}{report.summary}")
    for report in reports:
        for failure in report.failures:
            print(f"\n{report.name}: {failure}")


if __name__ == "__main__":
    main()

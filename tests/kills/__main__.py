"""Kills, with new seeds, by the thousand: `python -m tests.kills --help`. What is looked for is in `rounds`."""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from tests.documented import keep

from .rounds import VICTIMS, Result, play_round

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

ROUNDS: Final = 1000
GROUP: Final = 50
"""Rounds after which something is said."""


@dataclass
class Summary:
    """What the rounds with one victim add up to."""

    rounds: int = 0
    resets: int = 0
    short: int = 0

    def add(self, result: Result) -> None:
        """One more round."""
        self.rounds += 1
        self.resets += result.resets
        self.short += len(result.short)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no socket had a short clean end, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills", description="kill -9 of either end under load: an error everywhere, never an end."
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many ({ROUNDS})")
    parser.add_argument("--seed", type=int, help="the first seed, to see a round again")
    options = parser.parse_args(arguments)
    seed = random.randrange(1 << 31) if options.seed is None else options.seed
    summaries = {victim: Summary() for victim in VICTIMS}
    for number in range(options.rounds):
        result = trio.run(play_round, seed + number)
        summaries[result.victim].add(result)
        for line in result.short:
            print(f"SHORT, seed {result.seed}, {result.victim} killed: {line}", flush=True)
        if not (number + 1) % GROUP:
            print(f"{number + 1} rounds, {sum(one.short for one in summaries.values())} short clean ends", flush=True)
    if options.rounds >= ROUNDS:
        rows = {
            "rounds": [f"{one.rounds:,}" for one in summaries.values()],
            "sockets with an error": [f"{one.resets:,}" for one in summaries.values()],
            "short clean ends": [f"{one.short:,}" for one in summaries.values()],
        }
        keep(
            "kills", f"{options.rounds:,} rounds, seeds from {seed} on", [f"the {one} killed" for one in VICTIMS], rows
        )
    return 1 if any(one.short for one in summaries.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

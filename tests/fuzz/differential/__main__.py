"""`python -m tests.fuzz.differential [--seconds N | --count N] [--seed S] [--length L]`: sequence after sequence.

Sequence number i has the seed S + i. One that fails is shortened and shown with the command that plays it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import trio

from .play import Difference, compare, shortest

__all__ = ["main"]

LENGTH = 40
"""Groups of operations in one sequence."""


def main() -> None:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential", description=__doc__)
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--count", type=int, default=1, help="how many sequences, without --seconds (default: 1)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--length", type=int, default=LENGTH, help="groups of operations (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        failed = trio.run(run, arguments.seed, arguments.length, arguments.count, arguments.seconds)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(failed)


async def run(first: int, length: int, count: int, seconds: float | None) -> bool:
    """Play sequences; True if one failed."""
    begun = time.monotonic()
    played = operations = 0
    while played < count if seconds is None else not played or time.monotonic() - begun < seconds:
        seed = first + played
        try:
            operations += await compare(seed, length)
        except Difference as difference:
            print(f"seed {seed}, length {length}: {difference}", flush=True)
            least, why = await shortest(seed, length)
            print(f"\nshortened to length {least}: {why}")
            print(f"again: python -m tests.fuzz.differential --seed {seed} --length {least}")
            return True
        played += 1
    print(f"{played} sequences from seed {first}, {operations} operations each way, no difference")
    return False


if __name__ == "__main__":
    main()

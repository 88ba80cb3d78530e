"""`python -m tests.fuzz.differential.http2 [--seconds N | --count N] [--seed S] [--exchanges K] [--tls]`: plan after
plan.

Plan number i has the seed S + i, and K exchanges at the same time. One that fails is shown with the command that plays
it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio

from tests.interop.http2.tls import make_tls

from .plan import Plan, generate
from .play import Difference, all_ends, compare, smallest

if TYPE_CHECKING:
    from tests.interop.http2.tls import Tls

__all__ = ["main"]

EXCHANGES = 12


def main() -> None:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential.http2", description=__doc__)
    parser.add_argument("--seconds", type=float, help="go on for so long")
    parser.add_argument("--count", type=int, default=1, help="how many plans, without --seconds (default: 1)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--exchanges", type=int, default=EXCHANGES, help="in one plan (default: %(default)s)")
    parser.add_argument("--only", type=int, nargs="+", default=[], help="these exchanges of each plan")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    arguments = parser.parse_args()
    try:
        with TemporaryDirectory() as folder:
            failed = trio.run(run, arguments, make_tls(Path(folder)) if arguments.tls else None)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(failed)


async def run(arguments: argparse.Namespace, tls: Tls | None) -> bool:
    """Play plans; True if one failed."""
    begun = time.monotonic()
    played = exchanges = 0
    count, seconds = arguments.count, arguments.seconds
    async with all_ends(tls) as ends:
        while played < count if seconds is None else not played or time.monotonic() - begun < seconds:
            plan = generate(arguments.seed + played, arguments.exchanges, arguments.only)
            try:
                await compare(ends, plan)
            except Difference as difference:
                await tell(tls, plan, str(difference), arguments.exchanges)
                return True
            played += 1
            exchanges += len(plan.exchanges)
    print(f"{played} plans from seed {arguments.seed}, {exchanges} exchanges in each of 3 ways, no difference")
    return False


async def tell(tls: Tls | None, plan: Plan, why: str, exchanges: int) -> None:
    """Say what has failed, how little of it is enough, and how to see it again."""
    print(*plan.exchanges, sep="\n")
    print(f"seed {plan.seed}, {exchanges} exchanges: {why}", flush=True)
    again = f"python -m tests.fuzz.differential.http2 --seed {plan.seed} --exchanges {exchanges}"
    if alone := await smallest(tls, plan):
        least, why = alone
        print(f"\none of them is enough: {why}")
        again += f" --only {least.exchanges[0].number}"
    print(f"again: {again}{' --tls' if tls else ''}")


if __name__ == "__main__":
    main()

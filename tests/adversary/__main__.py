"""What memory each attack takes: `python -m tests.adversary`. The attacks and their bounds are in test_memory."""

from __future__ import annotations

import sys
from functools import partial

import trio

from tests.documented import keep

from .test_memory import BOUND, CASES, CONFIG, KIB, most_memory

KINDS = ("tcp", "tls")


def main() -> int:
    """0 if every attack stayed within its bound."""
    rows = {}
    broken = 0
    for case in CASES:
        figures = [trio.run(partial(most_memory, case, kind)) for kind in KINDS]
        broken += any(figure > case.bound for figure in figures)
        rows[case.name] = [f"{figure // KIB:,}" for figure in (*figures, case.bound)]
        print(f"{case.name:55}" + "".join(f"{cell:>9}" for cell in rows[case.name]), flush=True)
    what = (
        f"KiB at the worst moment, with max_streams={CONFIG.max_streams} and receive_budget={CONFIG.receive_budget:,}, "
        f"for which the bound of all is {BOUND // KIB:,}"
    )
    keep("memory", what, ["TCP", "TLS", "allowed"], rows)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

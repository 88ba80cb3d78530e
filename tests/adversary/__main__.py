"""What memory and how long a turn of the event loop each attack takes: `python -m tests.adversary`. The attacks are in
test_memory, with their bounds, and in test_turns."""

from __future__ import annotations

import gc
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import trio

from muxpy._open import _run_session
from tests.documented import keep
from tests.helpers.passes import Turns, timing_turns

from .test_memory import BOUND, CASES, CONFIG, KIB, most_memory
from .test_turns import FLOODS, QUIET, USELESS, flooded, record_peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KINDS = ("tcp", "tls")
TIMES = 5


def main() -> int:
    """0 if every attack stayed within its bound of memory."""
    turns()
    return memory()


def turns() -> None:
    """The longest turn that each flood causes. Times are measured and told; tests count instead."""
    rows: dict[str, list[str]] = {}
    gc.freeze()  # what the suite itself has loaded is not what a collection should look through
    for flood in FLOODS:
        rows[flood] = [cell for kind in KINDS for cell in _median(partial(_of_flood, flood, kind))]
    for useless in USELESS:
        rows[f"TLS: {useless}"] = ["", "", *_median(partial(_of_records, useless))]
    for name, row in rows.items():
        print(f"{name:55}" + "".join(f"{cell:>9}" for cell in row), flush=True)
    head = ["TCP: step", "pass", "TLS: step", "pass"]
    keep("turns", f"milliseconds of processor time, the longest in each run, medians of {TIMES}", head, rows)


def _median(run: Callable[[], Awaitable[Turns]]) -> list[str]:
    runs = [trio.run(run) for _ in range(TIMES)]
    figures = median(one.longest_step for one in runs), median(one.longest_pass for one in runs)
    return [f"{1000 * figure:.1f}" for figure in figures]


async def _of_flood(flood: str, kind: str) -> Turns:
    async with flooded(flood, kind, client=False) as (_, play):
        with timing_turns() as turns:
            await play()
    return turns


async def _of_records(useless: str) -> Turns:
    with tempfile.TemporaryDirectory() as folder:
        transport, peer = await record_peer(Path(folder) / "keys")
    async with _run_session(transport, False, QUIET, []) as session:
        records = b"".join(USELESS[useless](peer) for _ in range(5000))
        with timing_turns() as turns:
            with suppress(trio.BrokenResourceError):
                await peer.stream.send_all(records)
            await session.wait()
    await trio.aclose_forcefully(peer.stream)
    return turns


def memory() -> int:
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

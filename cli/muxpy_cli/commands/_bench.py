"""`muxpy bench`: how fast a session is."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Unpack

import click

from .._lifetime import run as run_trio
from .._options import ConnectOptions
from ..bench import BenchDisplay, BenchResult, Measure, Plan, result_table, run_bench
from ..client import log_in
from ..view import Console
from ._shared import ConnectionParameters, connection_options, tls_options
from ._types import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import muxpy

    from .._lifetime import Lifetime
    from ..specs import Address

    Opener = Callable[[ConnectOptions], AbstractAsyncContextManager[muxpy.Session]]

__all__ = ["bench_command", "measure"]

MAX_STREAMS = 128
"""In parallel; more show nothing new, and a listening end may allow fewer connections."""
MAX_SECONDS = 50.0
"""The longest time for one test."""


@click.command("bench")
@click.argument("address", metavar="HOST:PORT", type=ADDRESS)
@connection_options
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, MAX_SECONDS),
    metavar="SECONDS",
    default=3,
    show_default=True,
    help="For each test.",
)
@click.option(
    "--streams",
    type=click.IntRange(1, MAX_STREAMS),
    metavar="N",
    default=4,
    show_default=True,
    help="Parallel streams; throughput is also measured over one.",
)
@click.option(
    "--test",
    "tests",
    type=click.Choice([measure.value for measure in Measure]),
    multiple=True,
    help="Only this one; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
def bench_command(
    address: Address,
    seconds: float,
    streams: int,
    tests: tuple[str, ...],
    as_json: bool,
    **given: Unpack[ConnectionParameters],
) -> int:
    """Measure the session to a listening end: throughput, latency, new streams.

    Nothing is forwarded; the two ends generate and check the data. Throughput is what the receiver counted, on one
    stream and on N. Latency is the round trip of 64 bytes, alone and during a download on N streams. Last come streams
    that are opened, used once and closed, 100 in parallel. The first 0.3 seconds of each test do not count.

    \b
    Examples:
      muxpy bench localhost:4242
      muxpy bench localhost:4242 --seconds 10 --streams 8
      muxpy bench localhost:4242 --test latency --json

    Exit codes: 1 if the session breaks or data differs, 3 if it is not allowed, 130 or 143 after Ctrl-C or SIGTERM.
    """
    if math.isnan(seconds):
        raise click.UsageError("--seconds must be a number")
    options = ConnectOptions(
        address=address,
        tls=tls_options(None, given),
        insecure=given["insecure"],
        token_file=given["token_file"],
        ask_token=given["ask_token"],
    )
    plan = Plan(seconds=seconds, streams=streams, measures=_measures(tests))
    return _run(options, plan, as_json)


def _measures(tests: tuple[str, ...]) -> tuple[Measure, ...]:
    return tuple(measure for measure in Measure if not tests or measure.value in tests)


def _run(options: ConnectOptions, plan: Plan, as_json: bool) -> int:
    console = Console(to_stderr=as_json)
    result: BenchResult | None = None

    async def main(_: Lifetime) -> None:
        nonlocal result
        result = await measure(options, plan, console, partial(log_in, tell=console.event))

    code = run_trio(main, cuts=True)  # an incomplete measurement has nothing to show
    if result is None:
        return code
    if as_json:
        click.echo(json.dumps(_document(options, plan, result), indent=2))
    else:
        console.show(result_table(result))
        console.check_shown()
    return code


async def measure(options: ConnectOptions, plan: Plan, console: Console, log_in: Opener) -> BenchResult:
    """Connect, and run the plan with its display. Raises Failure, perhaps in a group."""
    display = BenchDisplay(console)
    async with log_in(options) as session:
        with display.running():
            return await run_bench(session, plan, display.show)


def _document(options: ConnectOptions, plan: Plan, result: BenchResult) -> dict[str, object]:
    """The result, and what it was measured with."""
    setting = {"seconds": plan.seconds, "warm_up": plan.warm_up, "streams": plan.streams}
    return {"address": str(options.address), **setting, **result.as_json()}

"""`muxpy demo`."""

from __future__ import annotations

import math
from typing import Final

import click

from ..view import Console
from ._types import SIZE

__all__ = ["demo_command"]

MAX_TIME_LIMIT: Final = 1e6


@click.command("demo")
@click.option("--size", type=SIZE, metavar="SIZE", default="256MiB", show_default=True, help="Bytes to move in bulk.")
@click.option(
    "--requests", type=click.IntRange(1), metavar="N", default=2000, show_default=True, help="Small requests to make."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1, MAX_TIME_LIMIT),
    metavar="SECONDS",
    default=120,
    show_default=True,
    help="Give up after this time.",
)
def demo_command(size: int, requests: int, time_limit: float) -> int:
    """Send real traffic through a forwarded port, and check every byte.

    Starts an HTTP server, a listening end and a connecting end as processes of their own, on loopback with free
    ports. Moves half of SIZE down and half up on parallel connections, then makes many small requests, compares
    SHA-256 sums, and shows what the session did. Exit code 1 if anything differs.
    """
    from .._demo import run_demo

    if math.isnan(time_limit):
        raise click.UsageError("--time-limit must be a number")
    return run_demo(size, requests, time_limit, Console())

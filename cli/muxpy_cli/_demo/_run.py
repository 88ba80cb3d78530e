"""The demo from its first process to its last line."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import muxpy

from .._errors import Failure
from .._lifetime import report
from ..view import format_size
from ._children import Child, ending_all
from ._load import Load, TrafficCount
from ._report import Traffic, TrafficDisplay, print_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..view import Console

__all__ = ["run_demo"]

BULK_CONNECTIONS: Final = 4
KEEP_ALIVE_CONNECTIONS: Final = 32
NEW_CONNECTIONS: Final = 8  # at a time
SHARE_OF_OTHERS: Final = 10
"""One in this many requests is also made sequentially, and with a new connection each."""

_ADDRESS = re.compile(r"(?: on|forwarding) (127\.0\.0\.1:\d+)")


class _Ended(BaseException):
    """A signal asked for the end. Not an Exception, so that no handler on the way takes it for a failure."""

    def __init__(self, signal_number: int) -> None:
        self.exit_code = 128 + signal_number


def run_demo(size: int, requests: int, time_limit: float, console: Console) -> int:
    """Run it all; the exit code."""
    try:
        with _signals_raise():
            _demo(size, requests, time.monotonic() + time_limit, console)
    except _Ended as ended:
        return ended.exit_code
    except Exception as error:
        return report(error)
    return 0


@contextmanager
def _signals_raise() -> Iterator[None]:
    """The first signal unwinds the stack, which ends the children. Later ones must not disturb that: they are ignored
    until the process has ended."""

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ended = False

    def end(signal_number: int, _: object) -> None:
        nonlocal ended
        if not ended:  # a second signal may come before it is ignored
            ended = True
            for number in wanted:
                signal.signal(number, signal.SIG_IGN)
            raise _Ended(signal_number)

    before = {number: signal.signal(number, end) for number in wanted}
    try:
        yield
    finally:
        if not ended:
            for number, handler in before.items():
                signal.signal(number, handler)


def _demo(size: int, requests: int, deadline: float, console: Console) -> None:
    with ending_all() as children:
        port = _start(children, console)

        def watch() -> None:
            for child in children:
                child.check_running()

        phases = _drive(Load(port, deadline, watch), size, requests, TrafficDisplay(console))
        # The connecting end first; the target is only ever killed.
        connecting, listening = (_end(child) for child in children[:0:-1])
    print_tables(console, phases, connecting, listening)
    total = sum(phase.total for phase in phases if phase.unit == "requests")
    line = f"All {format_size(size)} and {total:,} answers came through with the right SHA-256."
    console.line(line, style="bold green")
    console.check_shown()


def _start(children: list[Child], console: Console) -> int:
    """Start the three processes; the forwarded port."""

    def start(name: str, *arguments: str) -> str:
        child = Child(name, *arguments)
        children.append(child)
        return child.wait_for(_ADDRESS)

    target = start("the HTTP server", "muxpy_cli._demo._target")
    console.line(f"HTTP server on {target}")
    middle = start("the listening end", "muxpy_cli._demo._ends", "listen")
    console.line(f"muxpy listen on {middle}")
    entrance = start("the connecting end", "muxpy_cli._demo._ends", "connect", middle, target)
    console.line(f"muxpy connect, forwarding {entrance} -> {middle} -> {target}")
    return int(entrance.rpartition(":")[2])


def _drive(load: Load, size: int, requests: int, display: TrafficDisplay) -> list[Traffic]:
    others = max(1, requests // SHARE_OF_OTHERS)
    down = Traffic(f"download, {BULK_CONNECTIONS} connections", size // 2, "B")
    up = Traffic(f"upload, {BULK_CONNECTIONS} connections", size - size // 2, "B")
    parallel = Traffic(f"requests, {KEEP_ALIVE_CONNECTIONS} connections", requests, "requests")
    single = Traffic("requests, 1 connection", others, "requests")
    fresh = Traffic("requests, new connection", others, "requests")
    with display.running():
        with _measuring(display, down) as (meter, show):
            load.run(load.downloads(down.total, BULK_CONNECTIONS, meter), show)
        with _measuring(display, up) as (meter, show):
            load.run(load.uploads(up.total, BULK_CONNECTIONS, meter), show)
        for phase, count in ((parallel, KEEP_ALIVE_CONNECTIONS), (single, 1), (fresh, NEW_CONNECTIONS)):
            with _measuring(display, phase) as (meter, show):
                jobs = load.requests(phase.total, count, meter, keep_alive=phase is not fresh)
                phase.latencies = [seconds for times in load.run(jobs, show) for seconds in times]
    return [down, up, parallel, single, fresh]


@contextmanager
def _measuring(display: TrafficDisplay, phase: Traffic) -> Iterator[tuple[TrafficCount, Callable[[], None]]]:
    meter = TrafficCount()
    with display.phase(phase, meter) as show:
        yield meter, show


def _end(child: Child) -> muxpy.SessionStatistics:
    """End it; the statistics of its session."""
    try:
        return muxpy.SessionStatistics(**json.loads(child.end()))
    except (TypeError, ValueError):
        raise Failure(f"{child.name} ended without its statistics: {child.last_words()}") from None

"""What a process holds: memory, tasks, descriptors, streams."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    import muxpy

    from .carry import Tally

__all__ = ["EXACT", "at_rest", "sample"]

EXACT: Final = ("tasks", "descriptors", "sessions", "streams", "control_frames", "budget_used")
"""Figures that are at each rest exactly what they were at the first."""

PAGE: Final = resource.getpagesize()


def sample(sessions: Iterable[muxpy.Session], tally: Tally) -> dict[str, Any]:
    """The figures now, as JSON takes them; cheap."""
    all_statistics = [session.statistics() for session in sessions]
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "sessions": len(all_statistics),
        "streams": sum(each.streams_open for each in all_statistics),
        "control_frames": sum(each.control_frames_waiting for each in all_statistics),
        "budget_used": sum(
            session.config.receive_budget - each.receive_budget_left
            for session, each in zip(sessions, all_statistics, strict=True)
        ),
        "done": tally.whole + tally.cut + tally.lost,
        "bytes": tally.sent + tally.received,
    }


def at_rest(sessions: Iterable[muxpy.Session], tally: Tally) -> dict[str, Any]:
    """The same when nothing goes on, without garbage and without memory that is only kept for reuse; and what is
    alive of the library, by type."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # of glibc
    return {**sample(sessions, tally), "blocks": sys.getallocatedblocks(), "living": living()}


def living() -> dict[str, int]:
    """How many objects there are of each of the library's types."""
    types = Counter(type(each) for each in gc.get_objects())
    return {
        f"{kind.__module__}.{kind.__qualname__}": count
        for kind, count in types.items()
        if kind.__module__.partition(".")[0] == "muxpy"
    }

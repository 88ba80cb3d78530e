"""Which processes are there."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["family", "left_of"]


def family(pid: int) -> set[int]:
    """A process and all that it has started, and those have."""
    members = {pid}
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # that thread has just ended
            for child in file.read_text().split():
                members |= family(int(child))
    return members


def left_of(pids: Iterable[int]) -> set[int]:
    """Those of the processes that do not end."""
    left = set(pids)
    deadline = time.monotonic() + LIMIT
    while (left := {pid for pid in left if _runs(pid)}) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _runs(pid: int) -> bool:
    """Whether a process is there, and does not only wait to be reaped by whoever has inherited it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"

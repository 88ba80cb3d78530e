"""Processes and those that they have started: their memory and their time, by /proc."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["family", "processor_time", "resident"]


def family(pid: int) -> list[int]:
    """A process and all its children: sshd has one for each client."""
    children = [
        int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
    ]
    return [pid, *(member for child in children for member in family(child))]


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def processor_time(pid: int) -> float:
    """Seconds that the threads of a process and of its children have computed, in the program and in the kernel; to
    the nanosecond, where /proc/PID/stat counts in ticks."""
    threads = (thread for member in family(pid) for thread in Path(f"/proc/{member}/task").iterdir())
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

"""What is said when the system has nothing left for more connections."""

from __future__ import annotations

import errno
import logging
import math
import resource
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Shortage"]

EVERY: Final = 60.0
"""Seconds between lines: it goes on until connections end, and is tried ten times a second."""

log = logging.getLogger("muxpy_cli.net")


class Shortage:
    """Tells of it, once in a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -math.inf

    def met(self, error: OSError) -> None:
        """A connection could not be taken for this reason (see `is_exhausted`). It stays in the kernel's queue, and its
        client waits."""
        if self._clock() - self._told_at >= EVERY:
            self._told_at = self._clock()
            log.warning("connections wait until others end: %s", _words(error))


def _words(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"all file descriptors of this process are used up ({most:,} at most); ulimit -n allows it more, or"
            " LimitNOFILE= in the unit of a service"
        )
    if error.errno == errno.ENFILE:
        return "all file descriptors of this machine are used up (sysctl fs.file-max)"
    return "the system has no memory left for sockets"

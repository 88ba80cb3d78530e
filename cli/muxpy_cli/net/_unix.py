"""Unix sockets as files: whose they are, and whether anybody listens there."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["inode", "is_abandoned", "private_files"]


def is_abandoned(path: str) -> bool:
    """Whether nobody listens on a socket any more: its process was killed. Raises OSError if that cannot be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    return False


def inode(path: str) -> tuple[int, int] | None:
    """Which file it is that has this name now; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile is for its owner alone; a chmod afterwards would leave a moment."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)

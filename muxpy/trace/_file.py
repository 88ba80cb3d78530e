"""A trace as a file of JSON lines."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from os import PathLike

    from ._event import TraceEvent

__all__ = ["TraceFile"]

log = logging.getLogger("muxpy.trace")

START: Final = b'{"time":'
"""How each line begins."""


class TraceFile:
    """A trace hook that writes JSON lines, an object for each event, to a file: `SessionConfig(trace=TraceFile(path))`.

    `muxpy trace PATH` shows such a file as a ladder. One TraceFile may serve many sessions; an existing trace is
    appended to. Only its owner may read the file: it has no payloads, but it shows who talked when, and how much.
    Each event is written immediately, so no event is lost if the process is killed.

    Raises FileExistsError if the path is a pipe, or a file that is no trace, and OSError if the file cannot be opened.
    If writing fails later (a full disk), the trace ends with a warning in the log, and sessions go on.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = Lock()  # sessions of several threads may share it
        # Unbuffered, but a file object all the same: it closes itself if nobody does.
        self._file = os.fdopen(_opened(self._path), "ab", buffering=0)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def __call__(self, event: TraceEvent) -> None:
        """Write one event."""
        line = json.dumps(event.as_dict(), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(line)
            except OSError as error:
                log.warning("%s: the trace ends here: %s", self._path, error)
                self._file.close()

    def close(self) -> None:
        """Close the file; events after that are dropped."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: Path) -> int:
    if path.is_fifo():
        raise FileExistsError(errno.EEXIST, "a pipe would hold up the session", str(path))
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        if os.pread(descriptor, len(START), 0) not in (b"", START):
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "it exists already, and is not a trace", str(path))
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # the last line was cut short, perhaps by a full disk: begin a new one
        with suppress(OSError):  # the file is another user's, who lets us write it
            os.fchmod(descriptor, 0o600)  # an existing file may have been readable for everybody
    return descriptor

"""Standard input, output and error, as the parent process left them."""

from __future__ import annotations

import io
import os
import sys

__all__ = ["is_readable", "is_writable", "prepare"]


def prepare() -> None:
    """Have all three be there, before anything else is opened: the next descriptor would take the place of one that is
    closed, and be read or written as if it were that one. The stand-ins fail as a closed one does, but for standard
    error: a parent that has closed it wants no words.

    Names that the terminal's encoding lacks are shown escaped.
    """
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        if not _is_open(descriptor):
            os.open(os.devnull, mode)  # takes the lowest that is free, which is this one
    sys.stdin = sys.stdin or _text(0, "r")
    sys.stdout = sys.stdout or _text(1, "w")
    sys.stderr = sys.stderr or _text(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error has it anyway


def is_readable(descriptor: int) -> bool:
    """Whether it can be read at all."""
    return _access(descriptor) != os.O_WRONLY


def is_writable(descriptor: int) -> bool:
    """Whether it can be written at all."""
    return _access(descriptor) != os.O_RDONLY


def _access(descriptor: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _text(descriptor: int, mode: str) -> io.TextIOWrapper:
    buffer = io.FileIO(descriptor, mode, closefd=False)
    return io.TextIOWrapper(io.BufferedReader(buffer) if mode == "r" else io.BufferedWriter(buffer))

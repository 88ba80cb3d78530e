"""Writing files whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["create_file", "locked_folder", "replace_file"]


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Write a new file; raises FileExistsError if there is one, or a link of that name.

    It has its mode from the start: nobody may open it before it is made private.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _fill(descriptor, data)
    except BaseException:
        path.unlink()
        raise


def replace_file(path: Path, data: bytes, mode: int, ready: Callable[[], object] | None = None) -> None:
    """Write the file in place of what is there, which a reader sees whole, or not yet. It keeps its owner.

    `ready` is called when all is written, and nothing is changed yet: what it raises leaves the file as it was."""
    path = Path(os.path.realpath(path))  # the file behind a link is replaced, not the link
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created with O_EXCL, 0600
    try:
        with suppress(FileNotFoundError, PermissionError):  # root may edit what belongs to the user of a service
            before = path.stat()
            os.chown(temporary, before.st_uid, before.st_gid)
        os.chmod(temporary, mode)
        _fill(descriptor, data)
        if ready is not None:
            ready()
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """One process at a time, of those that ask: who reads, changes and writes a file loses nobody else's change."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # gives the lock back


def _fill(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)  # before a rename, or a crash may leave an empty file under the name

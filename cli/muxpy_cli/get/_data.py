"""What a request carries out of a file."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Final

import trio

from .._errors import Failure, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import RawIOBase

__all__ = ["FileData"]

PIECE: Final = 64 * 1024


class FileData:
    """The bytes of a file, or of standard input (`-`), read as they are sent. Raises Failure if it cannot be opened."""

    def __init__(self, path: str) -> None:
        self._name = "standard input" if path == "-" else path
        try:
            self._descriptor = os.dup(sys.stdin.fileno()) if path == "-" else os.open(path, os.O_RDONLY)
            info = os.fstat(self._descriptor)
            if stat.S_ISDIR(info.st_mode):
                raise IsADirectoryError(21, os.strerror(21))
        except OSError as error:
            raise Failure(f"cannot read {self._name}: {describe(error)}", 2) from error
        self.size: int | None = info.st_size if stat.S_ISREG(info.st_mode) and path != "-" else None
        """Bytes; None if nobody knows before they are read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with os.fdopen(self._descriptor, "rb", buffering=0) as file:
            while data := await self._read(file):
                yield data

    async def _read(self, file: RawIOBase) -> bytes:
        try:
            # A terminal or a pipe may keep the thread waiting for ever; it must not keep the program from ending.
            return await trio.to_thread.run_sync(file.read, PIECE, abandon_on_cancel=True) or b""
        except OSError as error:
            raise Failure(f"cannot read {self._name}: {describe(error)}") from error

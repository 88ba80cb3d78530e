"""Where a response's body goes, and how far it has come."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import trio
from rich.console import Console as RichConsole
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from .._errors import Failure, describe
from ..view import discard_output, output_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

__all__ = ["Output"]


class Output:
    """A file, or standard output, with a progress bar on a terminal that does not show the body itself."""

    def __init__(self, path: str | None, *, quiet: bool) -> None:
        self._path = None if path in (None, "-") else Path(path or "")
        body_on_terminal = self._path is None and sys.stdout.isatty()
        self._bars: Progress | None = None
        if sys.stderr.isatty() and not quiet and not body_on_terminal:
            columns = TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn()
            console = RichConsole(stderr=True)
            self._bars = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console)
        self._task: TaskID | None = None
        self._file: IO[bytes] = sys.stdout.buffer

    @property
    def into_file(self) -> bool:
        """Whether the body goes into a file."""
        return self._path is not None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Take the body in the block. A file appears when all of it is there: a part must not pass for the whole.
        Raises Failure."""
        if self._path is None:
            yield
            return
        try:
            if self._path.exists() and not self._path.is_file():  # such as /dev/null, or a pipe
                with self._path.open("wb") as self._file:
                    yield
                return
            with self._beside(self._path) as self._file:
                yield
        except OSError as error:
            raise Failure(f"cannot write {self._path}: {describe(error)}") from error

    @contextmanager
    def _beside(self, path: Path) -> Iterator[IO[bytes]]:
        target = Path(os.path.realpath(path))  # the file behind a link is replaced, not the link
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.chmod(temporary, target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextmanager
    def progress(self, what: str, size: int | None) -> Iterator[None]:
        """Show how far it has come, of so many bytes."""
        if self._bars is None:
            yield
            return
        self._task = self._bars.add_task(what, total=size)
        with self._bars:
            yield

    async def write(self, data: bytes | bytearray) -> None:
        """Write a piece. Raises Failure."""
        try:
            # In a thread: whoever reads standard output may be slow, and the connection goes on meanwhile.
            await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)
        except OSError as error:
            if self._path is not None:
                raise Failure(f"cannot write {self._path}: {describe(error)}") from error
            discard_output()
            raise Failure(f"cannot write the output: {output_problem(error)}") from error
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, len(data))

    def _write(self, data: bytes | bytearray) -> None:
        self._file.write(data)
        self._file.flush()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

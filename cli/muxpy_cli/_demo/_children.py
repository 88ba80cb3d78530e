"""The demo's processes: started, awaited by the lines that they print, and always ended."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .._errors import Failure

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

__all__ = ["Child", "end_with_parent", "ending_all"]

START_TIMEOUT: Final = 20.0
END_TIMEOUT: Final = 10.0


class Child:
    """A Python module in a process of its own."""

    def __init__(self, name: str, module: str, *arguments: str) -> None:
        self.name = name
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._last: deque[str] = deque(maxlen=5)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,  # never written to: it ends with the demo, and the child with it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # Ctrl-C is for the demo, which ends its children in order
        )
        # A pipe that nobody reads would stop the child once it is full.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self._last.append(line.strip())
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: re.Pattern[str]) -> str:
        """The first group of the first line with the pattern."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure(f"{self.name} did not start within {START_TIMEOUT:g} seconds") from None
            if line is None:
                raise Failure(f"{self.name} did not start: {self.last_words()}")
            if match := pattern.search(line):
                return match[1]

    def last_words(self) -> str:
        """What it printed last."""
        return " / ".join(self._last) or "it printed nothing"

    def check_running(self) -> None:
        """Raise Failure if it has already ended."""
        if (code := self._process.poll()) is not None:
            raise Failure(f"{self.name} ended with exit code {code}: {self.last_words()}")

    def end(self) -> str:
        """End it gracefully; its last line. Raises Failure if it does not end so."""
        self._process.terminate()
        try:
            code = self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {END_TIMEOUT:g} seconds") from None
        if code != 0:
            raise Failure(f"{self.name} ended with exit code {code}: {self.last_words()}")
        self._reader.join(END_TIMEOUT)
        return self._last[-1] if self._last else ""

    def kill(self) -> None:
        """End it immediately, whatever it does."""
        self._process.kill()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextmanager
def ending_all() -> Iterator[list[Child]]:
    """A list of processes, of which none is left after the block."""
    children: list[Child] = []
    try:
        yield children
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def end_with_parent() -> None:
    """To be called by a child: end it at the end of its standard input, a pipe that the demo holds, however the demo
    ends."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    try:
        while os.read(0, 1):  # not through sys.stdin: a thread in there would keep the interpreter from ending
            pass
    finally:
        os._exit(1)

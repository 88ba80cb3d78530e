"""What the program prints: status lines on standard output, failures as one line on standard error.

On a terminal with colour, elsewhere plain lines of text, each flushed, so that a log or another program can follow.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from rich.console import Console as RichConsole
from rich.text import Text

from ._errors import describe
from ._specs import format_address
from ._writer import BackgroundWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Console", "discard_output", "fail"]

MAX_LINE: Final = 400
LOG_WIDTH: Final = 100
"""Columns for tables where there is no terminal to say how many there are."""
MAX_COMPLAINTS: Final = 10
"""Lines a second about connections that failed: a peer decides how many there are, and must not fill a disk."""
MAX_NEWS: Final = 20
"""Lines a second about sessions and forwards that come and go, for the same reason."""


class _Limit:
    """So many lines a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0.0
        self._count = 0

    def take(self) -> tuple[bool, int]:
        """Whether another line may be shown, and how many were not shown before it."""
        now = time.monotonic()
        hidden = 0
        if now - self._second >= 1:
            hidden = max(0, self._count - self._most)
            self._second, self._count = now, 0
        self._count += 1
        return self._count <= self._most, hidden


class Console:
    """Lines for the user, and the library's log turned into such lines."""

    def __init__(self) -> None:
        self.rich = RichConsole(highlight=False, markup=False, emoji=False, soft_wrap=True)
        if not self.rich.is_terminal:
            self.rich.width = LOG_WIDTH
        self._writer: BackgroundWriter | None = None
        self._complaints = _Limit(MAX_COMPLAINTS)
        self._news = _Limit(MAX_NEWS)

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Write from a thread meanwhile: whoever does not read our output must not stop the event loop."""
        file = self.rich.file
        try:
            file.flush()
            self._writer = BackgroundWriter(file.fileno(), getattr(file, "encoding", None) or "utf-8")
        except (OSError, ValueError):  # nothing that could block
            yield
            return
        try:
            yield
        finally:
            self._writer.close()

    def line(self, text: str, style: str = "") -> None:
        """Print a line."""
        self._print(Text(_printable(text), style=style))

    def event(self, text: str, style: str = "") -> None:
        """Print a line with the time of day."""
        line = Text(time.strftime("%H:%M:%S "), style="dim")
        self._print(line.append(_printable(text), style=style or "not dim"))

    def complain(self, text: str) -> None:
        """Like `event`, for what went wrong and may come in any number."""
        self._limited(self._complaints, text, "yellow")

    def news(self, text: str) -> None:
        """Like `event`, for what a peer may cause in any number. Does not use up the room for complaints."""
        self._limited(self._news, text, "")

    def _limited(self, limit: _Limit, text: str, style: str) -> None:
        shown, hidden = limit.take()
        if hidden:
            self.event(f"({hidden:,} more of these were not shown)", style="dim")
        if shown:
            self.event(text, style=style)

    def _print(self, text: Text) -> None:
        if self._writer is not None:
            with self.rich.capture() as printed:
                self.rich.print(text)
            self._writer.put(printed.get())
            return
        try:
            self.rich.print(text)
        except (OSError, SystemExit):
            # Nobody reads any more (rich answers a broken pipe with SystemExit): it goes on without.
            self.rich.quiet = True
            discard_output()

    def log_to_lines(self) -> None:
        """Show the library's warnings, and connections that never became sessions, as lines like ours."""
        logging.basicConfig(handlers=[_LogLines(self)], level=logging.WARNING)
        logging.getLogger("muxpy.serve").setLevel(logging.INFO)


class _LogLines(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_as_words, record.args))
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {_as_words(record.exc_info[1])}"
        self._console.complain(text)


def _as_words(value: object) -> object:
    if isinstance(value, BaseException):
        return describe(value)
    return format_address(value) if isinstance(value, tuple) else value


def _printable(text: str) -> str:
    """Without control characters: names and reasons come from the other end, and a terminal obeys what it is sent."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_LINE])


def discard_output() -> None:
    """Standard output has failed: have the interpreter not fail over it again when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def fail(message: str) -> None:
    """Say on standard error why the program ends."""
    console = RichConsole(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(Text.assemble(("muxpy: ", "bold red"), _printable(message)))

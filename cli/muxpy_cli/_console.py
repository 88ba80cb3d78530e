"""What the program prints: status lines on standard output, failures as one line on standard error.

On a terminal with colour, elsewhere plain lines of text, each flushed, so that a log or another program can follow.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from rich.console import Console as RichConsole
from rich.text import Text

from ._errors import describe
from ._specs import format_address

__all__ = ["Console", "fail"]

MAX_LINE: Final = 400
LOG_WIDTH: Final = 100
"""Columns for tables where there is no terminal to say how many there are."""
MAX_COMPLAINTS: Final = 10
"""Lines a second about connections that failed: a peer decides how many there are, and must not fill a disk."""


class Console:
    """Lines for the user, and the library's log turned into such lines."""

    def __init__(self) -> None:
        self.rich = RichConsole(highlight=False, markup=False, emoji=False, soft_wrap=True)
        if not self.rich.is_terminal:
            self.rich.width = LOG_WIDTH
        self._second = 0.0
        self._complaints = 0

    def line(self, text: str, style: str = "") -> None:
        """Print a line."""
        self._print(Text(_printable(text), style=style))

    def event(self, text: str, style: str = "") -> None:
        """Print a line with the time of day."""
        line = Text(time.strftime("%H:%M:%S "), style="dim")
        self._print(line.append(_printable(text), style=style or "not dim"))

    def complain(self, text: str) -> None:
        """Like `event`, for what may come in any number."""
        now = time.monotonic()
        if now - self._second >= 1:
            dropped = self._complaints - MAX_COMPLAINTS
            self._second, self._complaints = now, 0
            if dropped > 0:
                self.event(f"({dropped} more of these were not shown)", style="dim")
        self._complaints += 1
        if self._complaints <= MAX_COMPLAINTS:
            self.event(text, style="yellow")

    def _print(self, text: Text) -> None:
        try:
            self.rich.print(text)
        except (OSError, SystemExit):
            # Nobody reads any more (rich answers a broken pipe with SystemExit): a tunnel goes on without.
            self.rich.quiet = True

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


def fail(message: str) -> None:
    """Say on standard error why the program ends."""
    console = RichConsole(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(Text.assemble(("muxpy: ", "bold red"), _printable(message)))

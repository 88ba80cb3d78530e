"""Log lines: the library's log as lines of the console, lines as JSON, and a limit on lines a second."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from .._errors import describe
from ..specs import MAX_TEXT, format_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._options import Output

__all__ = ["LineLimit", "json_line", "show_logs"]


EVERYTHING: Final = 2
"""The verbosity (-vv) from which all of the library's log is shown."""


class Lines(Protocol):
    """Where the lines go: the console."""

    output: Output

    def complain(self, text: str, /, level: str, **fields: object) -> None:
        """A problem."""

    def detail(self, text: str, /, level: str, **fields: object) -> None:
        """What is shown with -v only."""


def show_logs(console: Lines) -> None:
    """Send the log to that console, instead of to one that was set before."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LogLines)]:
        root.removeHandler(handler)
    root.addHandler(_LogLines(console))
    everything = console.output.verbosity >= EVERYTHING
    logging.getLogger("muxpy").setLevel(logging.DEBUG if everything else logging.WARNING)
    # It warns of streams that were open when draining ended. The program itself says which connections were cut off.
    logging.getLogger("muxpy.session").setLevel(logging.NOTSET if everything else logging.ERROR)
    # Connections that never became sessions: a problem for people, though not for the library.
    logging.getLogger("muxpy.serve").setLevel(logging.NOTSET if everything else logging.INFO)


class _LogLines(logging.Handler):
    def __init__(self, console: Lines) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = _text(record)
        except Exception:
            self.handleError(record)
            return
        least = logging.INFO if record.name == "muxpy.serve" else logging.WARNING
        show = self._console.complain if record.levelno >= least else self._console.detail
        show(text, _level(record), logger=record.name)


def _level(record: logging.LogRecord) -> str:
    if record.levelno >= logging.ERROR:
        return "error"
    if record.levelno >= logging.WARNING:
        return "warning"
    return "info" if record.levelno >= logging.INFO else "debug"


def _text(record: logging.LogRecord) -> str:
    record = copy.copy(record)  # other handlers get the original
    if isinstance(record.args, tuple):
        record.args = tuple(map(_as_words, record.args))
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text += f": {_as_words(record.exc_info[1])}"
    return text


def _as_words(value: object) -> object:
    if isinstance(value, BaseException):
        return describe(value)
    return format_address(value) if isinstance(value, tuple) else value


# ---- JSON ----

MAX_ITEMS: Final = 100
"""Of a list in a field."""
_MAX_DIGITS: Final = 2**63
"""Larger integers become text: many readers of JSON would round them."""


def json_line(at: float, level: str, text: str, fields: Mapping[str, object]) -> str:
    """One object with a line end: time (ISO 8601, UTC), level, event, message, then the other fields, which cannot
    replace these. `event` comes from the fields, and is "log" without one. Valid JSON in ASCII, whatever the texts
    contain."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = _plain(fields.get("event", "log"))
    line: dict[str, object] = {"time": time, "level": level, "event": event, "message": _plain(text)}
    for name, value in fields.items():
        line.setdefault(name, _plain(value))
    return json.dumps(line) + "\n"


def _plain(value: object) -> object:
    """The value for JSON: types that it does not have become text, infinity and not-a-number become null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _MAX_DIGITS:
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:MAX_ITEMS]]
    # A lone surrogate has an escape in JSON, but many readers refuse it.
    return str(value)[:MAX_TEXT].encode("utf-8", "replace").decode()


class LineLimit:
    """At most `most` lines a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0.0
        self._count = 0

    def admit(self) -> tuple[bool, int]:
        """Whether another line may be shown, and how many were not shown before it."""
        now = time.monotonic()
        hidden = 0
        if now - self._second >= 1:
            hidden = max(0, self._count - self._most)
            self._second, self._count = now, 0
        self._count += 1
        return self._count <= self._most, hidden

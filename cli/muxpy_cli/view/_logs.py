"""The library's log, as lines of the console."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Final

from .._errors import describe
from ..specs import format_address

if TYPE_CHECKING:
    from ._console import Console

__all__ = ["show_logs"]

EVERYTHING: Final = 2
"""The verbosity (-vv) from which all of the library's log is shown."""


def show_logs(console: Console) -> None:
    """Send the log to that console, instead of to one that was set before."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LogLines)]:
        root.removeHandler(handler)
    root.addHandler(_LogLines(console))
    everything = console.output.verbosity >= EVERYTHING
    logging.getLogger("muxpy").setLevel(logging.DEBUG if everything else logging.WARNING)
    # Streams that were open when draining ended. People have connections, and know that they were cut off.
    logging.getLogger("muxpy.session").setLevel(logging.NOTSET if everything else logging.ERROR)
    # Connections that never became sessions: what goes wrong, though not for this program.
    logging.getLogger("muxpy.serve").setLevel(logging.NOTSET if everything else logging.INFO)


class _LogLines(logging.Handler):
    def __init__(self, console: Console) -> None:
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

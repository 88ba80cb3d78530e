"""What the program prints: lines of text or of JSON, and failures as one line on standard error.

With colour on a terminal, elsewhere plain lines, each flushed, so that a log or another program can follow. A reader
that has gone raises no exception here.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console as RichConsole
from rich.text import Text

from .._errors import Failure, describe
from .._options import Output
from ..specs import excerpt
from ._format import format_time
from ._logs import LineLimit, json_line, show_logs
from ._snapshot import Event
from ._writer import BackgroundWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import RenderableType

__all__ = ["Console", "discard_output", "fail", "output_problem"]

LOG_WIDTH: Final = 100
"""Columns for tables without a terminal."""
MAX_COMPLAINTS: Final = 10
"""Lines a second about connections that failed: peers decide how many there are, and must not fill a disk."""
MAX_NEWS: Final = 20
"""Lines a second about sessions and forwards that come and go, for the same reason."""
MAX_DETAILS: Final = 100
"""Lines a second with -v or -vv, which ask for many."""
MAX_EVENTS: Final = 50
"""Events that are kept for the views."""

MAX_LINE_ROWS: Final = 6
"""Rows that are left for the latest lines above a frame that would otherwise fill the terminal."""

_COLOURS: Final = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}
_ALWAYS: Final = {"warning", "error"}
"""Levels that are shown with -q as well."""


_PLAIN: Final[dict[str, Any]] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}


def _pen(console: RichConsole) -> RichConsole:
    """A console that renders text for that one, which would touch its file even to draw nothing, and could block."""
    return RichConsole(
        file=StringIO(),
        force_terminal=console.is_terminal,
        color_system=console.color_system,  # type: ignore[arg-type]
        no_color=console.no_color,
        **_PLAIN,
    )


class Console:
    """Lines for the user, and the library's log turned into such lines.

    Keyword arguments of a line are fields of its JSON object (Output.format "json"); text does not show them.
    """

    def __init__(self, output: Output | None = None, *, to_stderr: bool = False) -> None:
        self.output = output or Output()
        self.rich = RichConsole(stderr=to_stderr, **_PLAIN)
        if not self.rich.is_terminal:
            self.rich.width = LOG_WIDTH
        self._pen = _pen(self.rich)
        self._to_stderr = to_stderr
        self._json = self.output.format == "json"
        self._writer: BackgroundWriter | None = None
        self._failure: OSError | ValueError | None = None
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._complaints = LineLimit(MAX_COMPLAINTS)
        self._news = LineLimit(MAX_NEWS)
        self._details = LineLimit(MAX_DETAILS)

    @property
    def events(self) -> tuple[Event, ...]:
        """The latest calls of `event`, `news`, `complain` and `error`, oldest first; also those that -q or a limit kept
        from being shown as lines."""
        return tuple(self._events)

    @property
    def detailed(self) -> bool:
        """Whether `detail` shows anything: ask before a text is made for each connection."""
        return self.output.verbosity > 0

    @property
    def live(self) -> bool:
        """Whether to show a live display here."""
        terminal = self.rich.is_terminal and not self.rich.is_dumb_terminal
        return self.output.format == "auto" and terminal and _isatty(self.rich.file)

    @property
    def width(self) -> int:
        """Columns of the terminal; LOG_WIDTH without one."""
        return self._size()[0]

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Write from a thread during the block: a reader that does not read must not stop the event loop."""
        file = self.rich.file
        if self._writer is not None:
            yield
            return
        try:
            file.flush()
            self._writer = BackgroundWriter(file.fileno(), getattr(file, "encoding", None) or "utf-8")
        except (OSError, ValueError):  # there is nothing that could block
            yield
            return
        try:
            yield
        finally:
            writer, self._writer = self._writer, None
            writer.close()

    def line(self, text: str, /, style: str = "", **fields: object) -> None:
        """Print a line about what is set up, such as a bound address. Not with -q."""
        if self._shows("info"):
            self._emit("info", text, fields, Text(excerpt(text), style=style))

    def event(self, text: str, /, style: str = "", **fields: object) -> None:
        """Print a line with the time of day. Not with -q."""
        self._tell("info", text, fields, style)

    def error(self, text: str, /, **fields: object) -> None:
        """Like `event`, for a failure of this program. Always shown."""
        self._tell("error", text, fields)

    def complain(self, text: str, /, level: str = "warning", **fields: object) -> None:
        """Like `event`, for problems that may come in any number. Also with -q."""
        self._limited(self._complaints, level, text, fields, "yellow")

    def news(self, text: str, /, **fields: object) -> None:
        """Like `event`, for what peers may cause in any number. Has a limit of its own beside that of complaints."""
        self._limited(self._news, "info", text, fields)

    def detail(self, text: str, /, level: str = "info", **fields: object) -> None:
        """Like `event`, with -v only, and not kept for the views."""
        if not self.detailed:
            return
        shown, hidden = self._details.admit()
        self._tell_hidden(hidden, level)
        if shown:
            self._show(level, text, fields, "dim")

    def log_to_lines(self) -> None:
        """Show the library's warnings, and connections that never became sessions, as lines. With -vv, all that it
        logs."""
        show_logs(self)

    def show(self, renderable: RenderableType) -> None:
        """Print something that rich can render, such as a table."""
        self._pen.width = self._size()[0]
        self._write(self._drawn(renderable))

    def check_shown(self) -> None:
        """Raise Failure if something could not be written: the output of a command must not be cut silently. A reader
        that stops (a broken pipe) has seen enough."""
        if isinstance(self._failure, OSError) and not isinstance(self._failure, BrokenPipeError):
            raise Failure(f"cannot write the output: {output_problem(self._failure)}")

    def _drawn(self, *renderables: RenderableType) -> str:
        with self._pen.capture() as drawn:
            for renderable in renderables:
                self._pen.print(renderable)
        return drawn.get()

    @property
    def frame_waits(self) -> bool:
        """Whether the last frame is not yet on the terminal."""
        return self._writer is not None and self._writer.stuck

    def show_frame(self, draw: Callable[[int, int], list[Text]]) -> None:
        """Draw a frame below all lines, in place of the last one; an empty one removes it. `draw` is given the columns
        and rows that it may use. Works in the background only."""
        if self._writer is None:
            return
        columns, rows = self._size()
        # One row is for the cursor, some are for the lines above.
        lines = draw(columns, rows - 1 - min(MAX_LINE_ROWS, rows // 4))
        self._writer.show(self._drawn(*lines).splitlines())

    def flush(self) -> None:
        """Wait, for a second at most, until the background has written everything."""
        if self._writer is not None:
            self._writer.flush()

    def _size(self) -> tuple[int, int]:
        """Columns and rows of the terminal that is written to; rich would ask standard input for them."""
        try:
            columns, rows = os.get_terminal_size(self.rich.file.fileno())
        except (OSError, ValueError):
            columns = rows = 0
        return columns or self.rich.width, rows or self.rich.height

    def _shows(self, level: str) -> bool:
        return self.output.verbosity >= 0 or level in _ALWAYS

    def _limited(self, limit: LineLimit, level: str, text: str, fields: Mapping[str, object], style: str = "") -> None:
        shown, hidden = limit.admit()
        self._tell_hidden(hidden, level)
        if shown:
            self._tell(level, text, fields, style)
        else:
            self._remember(level, text)

    def _tell_hidden(self, hidden: int, level: str) -> None:
        if hidden:
            self._show(level, f"({hidden:,} more of these were not shown)", {"hidden": hidden}, "dim")

    def _tell(self, level: str, text: str, fields: Mapping[str, object], style: str = "") -> None:
        self._remember(level, text)
        self._show(level, text, fields, style)

    def _remember(self, level: str, text: str) -> None:
        self._events.append(Event(at=time.time(), level=level, text=excerpt(text)))

    def _show(self, level: str, text: str, fields: Mapping[str, object], style: str) -> None:
        if self._shows(level):
            line = Text.assemble((format_time(time.time()) + " ", "dim"))
            self._emit(level, text, fields, line.append(excerpt(text), style=style or _COLOURS[level]))

    def _emit(self, level: str, text: str, fields: Mapping[str, object], line: Text) -> None:
        if self._json:
            self._write(json_line(time.time(), level, text, fields))
        else:
            self.show(line)

    def _write(self, text: str) -> None:
        if self._writer is not None:
            self._writer.put(text)
            return
        if self._failure is not None:
            return
        try:
            _write_to(self.rich.file, text)
        except (OSError, ValueError) as error:  # the reader has gone, or it is closed: go on without output
            self._failure = error
            discard_output(to_stderr=self._to_stderr)


def _write_to(file: object, text: str) -> None:
    encoding = getattr(file, "encoding", None) or "utf-8"
    file.write(text.encode(encoding, "replace").decode(encoding))  # type: ignore[attr-defined]
    file.flush()  # type: ignore[attr-defined]


def _isatty(file: object) -> bool:
    try:
        return bool(file.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False


def discard_output(*, to_stderr: bool = False) -> None:
    """Standard output (or standard error) has failed: keep the interpreter from failing again when it flushes it."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, (sys.stderr if to_stderr else sys.stdout).fileno())
        os.close(null)


def output_problem(error: OSError) -> str:
    """Why standard output could not be written."""
    return "standard output is closed" if error.errno == errno.EBADF else describe(error)


def fail(message: str) -> None:
    """Say on standard error why the program ends."""
    console = Console(to_stderr=True)
    console.show(Text.assemble(("muxpy: ", "bold red"), excerpt(message)))

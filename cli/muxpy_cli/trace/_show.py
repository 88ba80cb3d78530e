"""From a file to standard output, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import muxpy

from ..view import fail
from ._draw import Ladder
from ._read import BrokenLine, Folding, TraceLines
from ._summary import TraceSummary, summary_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ._draw import Page
    from ._read import Run
    from ._summary import SessionSummary

__all__ = ["NoTrace", "show_trace"]

ENOUGH: Final = 10
"""Lines without an event after which a file counts as no trace; also broken lines that are reported one by one."""


class NoTrace(Exception):
    """The file is not a trace."""


class _Complaints:
    """Reports lines that are no events: none before the first event, because the file may not be a trace at all."""

    def __init__(self, name: str, page: Page) -> None:
        self._name = name
        self._page = page
        self._trusted = False
        self._waiting: list[BrokenLine] = []
        self._count = 0

    def add(self, line: BrokenLine) -> None:
        """Add a broken line. Raises NoTrace after too many without an event."""
        self._count += 1
        if self._trusted:
            self._tell(line)
            return
        self._waiting.append(line)
        if len(self._waiting) >= ENOUGH:
            raise self._no_trace()

    def trust(self) -> None:
        """An event was found."""
        self._trusted = True
        for line in self._waiting:
            self._tell(line)
        self._waiting.clear()

    def end(self) -> None:
        """The file has ended. Raises NoTrace if there were only broken lines."""
        if self._waiting:
            raise self._no_trace()
        if (hidden := self._count - ENOUGH) > 0:
            self._page.flush()
            fail(f"{self._name}: {hidden:,} more lines cannot be read")

    def _tell(self, line: BrokenLine) -> None:
        if self._count <= ENOUGH:
            self._page.flush()  # so that the complaint appears where it belongs
            fail(f"{self._name}, line {line.number}: {line.reason}; going on")

    def _no_trace(self) -> NoTrace:
        first = self._waiting[0]
        return NoTrace(f"{self._name} is no trace: line {first.number}: {first.reason}")


class _Show:
    def __init__(self, page: Page, streams: Collection[int], session: int | None, everything: bool) -> None:
        self.summary = TraceSummary()
        self._page = page
        self._streams = frozenset(streams)
        self.missing = set(streams)
        """Streams that were asked for, and have had no frame yet."""
        self._session = session
        self._folding = Folding(everything=everything)
        self._ladder = Ladder(page.width, page.signs)

    def event(self, event: muxpy.TraceEvent) -> None:
        if self._session is not None and event.session != self._session:
            return
        if event.event == "begin":
            self._begin(event)
            return
        session = self.summary.sessions.get(event.session) or self._begin_late(event)
        if event.event == "frame":
            self._frame(event, session)
        else:
            self._runs(self._folding.end())
            session.last = event.time
            self._page.line(self._ladder.end(event, session))
            self.summary.end(session)

    def _begin(self, event: muxpy.TraceEvent) -> SessionSummary:
        self._runs(self._folding.end())
        if self.summary.session_count:
            self._ladder.numbered = True
            self._page.line([("", "")])
        session = self.summary.begin(event)
        for line in self._ladder.begin(event):
            self._page.line(line)
        return session

    def _begin_late(self, event: muxpy.TraceEvent) -> SessionSummary:
        """Begin a session whose begin event cannot be read."""
        return self._begin(muxpy.TraceEvent(time=event.time, session=event.session, event="begin"))

    def _frame(self, frame: muxpy.TraceEvent, session: SessionSummary) -> None:
        if frame.stream is not None:
            self.missing.discard(frame.stream)
        if self._streams and frame.stream and frame.stream not in self._streams:  # those of all streams are shown
            return
        gap = frame.time - session.last
        session.last = frame.time
        self.summary.frame(session, frame)
        self._runs(self._folding.add(frame, gap))

    def _runs(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._page.line(self._ladder.run(run, self.summary.sessions[run.session]))

    def close(self) -> None:
        """The file has ended."""
        self._runs(self._folding.end())
        for session in self.summary.sessions.values():
            if not session.over:
                self._page.line(self._ladder.unended(session))
        self.summary.close()
        for line in summary_lines(self.summary, self._page.width):
            self._page.line([line])
        self._page.flush()


def show_trace(
    read_line: Callable[[int], bytes],
    name: str,
    page: Page,
    *,
    streams: Collection[int] = (),
    session: int | None = None,
    everything: bool = False,
) -> str | None:
    """Show a trace. Returns what was asked for and is not in it, if anything; "" if the trace is empty. Raises NoTrace,
    and OSError if reading or writing fails."""
    complaints = _Complaints(name, page)
    show = _Show(page, streams, session, everything)
    for found in TraceLines(read_line):
        if isinstance(found, BrokenLine):
            complaints.add(found)
        else:
            complaints.trust()
            show.event(found)
    complaints.end()
    show.close()
    if not show.summary.session_count:
        return "" if session is None else f"no session {session}"
    if show.missing:
        which = ", ".join(map(str, sorted(show.missing)))
        return f"no stream{'s' if len(show.missing) > 1 else ''} {which}" + _where(session)
    return None


def _where(session: int | None) -> str:
    return f" of session {session}" if session is not None else ""

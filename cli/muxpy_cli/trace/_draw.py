"""How a trace looks: a ladder with this side on the left, the peer on the right, and an arrow for each frame or run of
frames; and the page that it is written to, in large pieces, since a trace may have millions of lines.

So a line is no Text of rich's, and is cut here: rich takes 126 us to print one, this takes 2.
"""

from __future__ import annotations

import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from rich.cells import cell_len
from rich.console import COLOR_SYSTEMS
from rich.style import Style

import muxpy

from ..specs import printable
from ..view import format_rtt
from ._read import NOTABLE_GAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.color import ColorSystem

    from ..view import Console
    from ._read import Run
    from ._summary import SessionSummary

__all__ = ["Ladder", "Page"]

Line: TypeAlias = "Sequence[tuple[str, str]]"
"""Pieces of text, each with rich's name of its style."""

PIECE: Final = 32 * 1024
"""Characters in one write."""


class Signs:
    """Characters for drawing: arrows and boxes, or ASCII instead of them."""

    def __init__(self, encoding: str) -> None:
        self.line, self.right, self.left, self.wall = "─", "►", "◄", "│"
        self.times, self.more, self.between = "×", "…", "↔"  # noqa: RUF001 - the sign of multiplication
        try:
            "─►◄│×…↔".encode(encoding)  # noqa: RUF001
        except (UnicodeError, LookupError):
            self.line, self.right, self.left, self.wall = "-", ">", "<", "|"
            self.times, self.more, self.between = "x", "~", "-"


class Page:
    """Standard output. Raises OSError, mostly BrokenPipeError, if it cannot be written."""

    def __init__(self, console: Console, *, flushed: bool = False) -> None:
        """`flushed`: write each line immediately, since nobody knows when the next one comes."""
        self._file = sys.stdout
        self._encoding = getattr(self._file, "encoding", None) or "utf-8"
        self._flushed = flushed
        self._waiting: list[str] = []
        self._size = 0
        self.width = console.width
        self.signs = Signs(self._encoding)
        rich = console.rich
        coloured = rich.is_terminal and not rich.no_color and rich.color_system
        self._colours: ColorSystem | None = COLOR_SYSTEMS[coloured] if coloured else None

    def line(self, line: Line) -> None:
        """Write a line."""
        if self._colours is None:
            text = "".join([text for text, _ in line])
        else:
            text = "".join([_style(style).render(text, color_system=self._colours) for text, style in line])
        self._waiting.append(text.rstrip() + "\n")
        self._size += len(text)
        if self._flushed or self._size >= PIECE:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        text, self._waiting, self._size = "".join(self._waiting), [], 0
        self._file.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))
        self._file.flush()


@cache
def _style(name: str) -> Style:
    return Style.parse(name)


def cells(text: str) -> int:
    """Its width in columns."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int, more: str) -> str:
    """As much of it as fits, with a sign that it was cut."""
    if cells(text) <= width:
        return text
    kept = text[: max(0, width - 1)]
    while cells(kept) > width - 1:
        kept = kept[:-1]
    return kept + more


# ---- the ladder ----

MOST: Final = 100
"""The maximum width of a ladder: arrows across a very wide terminal are hard to follow."""
LEAST: Final = 48
"""Its minimum width; on a narrower terminal, lines wrap."""
TIME: Final = 11
GAP: Final = 8
NUMBER: Final = 4
"""Columns for the session's number, which is shown once there are several."""

_STYLES: Final = {"SYN": "bold", "HEADERS": "bold", "RST": "red", "RST_STREAM": "red", "GOAWAY": "bold yellow"}


class Ladder:
    """Draws lines."""

    def __init__(self, width: int, signs: Signs) -> None:
        self._width = max(LEAST, min(width, MOST))
        self._signs = signs
        self.numbered = False
        """Whether lines show the number of their session."""

    def begin(self, event: muxpy.TraceEvent) -> list[Line]:
        """A session's header, and its column heads."""
        role = printable(event.role or "its beginning is not in the trace")
        ends = f" {self._signs.between} ".join(printable(end) for end in (event.local, event.remote) if end)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        parts = [part for part in (role, ends, printable(event.tls or "no TLS") if event.role else "", when) if part]
        lines: list[Line] = [[(f"session {event.session}: {parts[0]}", "bold")]]
        room = self._width - cells(lines[0][0][0])
        for part in parts[1:]:
            room -= cells(part) + 2
            if room < 0:  # on a line of its own
                lines.append([(f"    {part}", "")])
                room = self._width - 4 - cells(part)
            else:
                lines[-1] = [*lines[-1], (f", {part}", "")]
        return [*lines, self._head()]

    def _head(self) -> Line:
        lane = self._lane()
        here, peer = "this side", "the peer"
        space = " " * max(1, lane + 2 - len(here) - len(peer))
        return [(f"{'seconds':>{TIME}}{'gap':>{GAP}} {' ' * NUMBER * self.numbered}{here}{space}{peer}", "dim")]

    def run(self, run: Run, session: SessionSummary) -> Line:
        """The line of a frame, or of several."""
        return [
            *self._margin(run.first.time - session.began, run.gap, session.number),
            (self._signs.wall, "dim"),
            *self._arrow(label(run, self._signs), run),
            (self._signs.wall, "dim"),
        ]

    def end(self, event: muxpy.TraceEvent, session: SessionSummary) -> Line:
        """How it ended."""
        code = printable(event.code or "")
        text = printable(event.text or "")
        bad = code not in ("", "NO_ERROR")
        margin = self._margin(event.time - session.began, None, session.number)
        room = self._width - TIME - GAP - 1 - NUMBER * self.numbered
        words = f"session {session.number} ended: {text}{f' ({code})' if code else ''}"
        if cells(words) > room:  # a long reason gets a line of its own, however long
            return [
                (f"session {session.number} ended after {event.time - session.began:.6f} s: ", "bold"),
                (f"{text}{f' ({code})' if code else ''}", "bold red" if bad else "bold green"),
            ]
        return [*margin, (words, "bold red" if bad else "bold green")]

    def unended(self, session: SessionSummary) -> Line:
        """The line for a session that goes on when the trace ends."""
        after = f"{session.last - session.began:.6f}"
        return [(f"session {session.number}: the trace ends {after} s after its beginning, without its end", "yellow")]

    def _margin(self, at: float, gap: float | None, number: int) -> Line:
        shown = f"+{format_rtt(gap)}" if gap is not None and gap >= NOTABLE_GAP else ""
        which = f"{f'#{number}':<{NUMBER - 1}} " if self.numbered else ""
        return [(f"{at:{TIME}.6f}", ""), (f"{shown:>{GAP}} ", "yellow"), (which, "bold")]

    def _lane(self) -> int:
        return self._width - TIME - GAP - 1 - NUMBER * self.numbered - 2

    def _arrow(self, text: str, run: Run) -> Line:
        signs, lane = self._signs, self._lane()
        text = cut(text, lane - 3, signs.more)
        sent = run.first.direction == "sent"
        shaft = signs.line * (lane - cells(text) - 3)
        style = _STYLES.get(run.first.type or "", "")
        colour = "cyan" if sent else "green"
        if run.first.type == "GOAWAY" and run.first.code not in (None, "NO_ERROR"):
            style = "bold red"
        words = text, style or colour
        if sent:
            return [(" ", ""), words, (" ", ""), (shaft + signs.right, colour)]
        return [(signs.left + shaft, colour), (" ", ""), words, (" ", "")]


def label(run: Run, signs: Signs) -> str:
    """The text on the arrow of a frame, or of a run of them."""
    frame = run.first
    parts = [f"{frame.type} {frame.stream}" if frame.stream else frame.type or ""]
    if run.count > 1:
        parts.append(f"{signs.times}{run.count:,}")
    if frame.type == "SYN":
        parts += _opening(frame)
    elif frame.type == "DATA":
        parts.append(f"{run.total:,} B")
    elif frame.type in ("WND_INC", "WINDOW_UPDATE"):
        parts.append(f"+{run.total:,}")
    elif frame.type == "GOAWAY":
        parts.append(f"last {frame.last_id or 0}")
    if frame.type in ("RST", "RST_STREAM", "GOAWAY"):
        parts.append(printable(frame.code or "without a code"))
    if frame.promised:
        parts.append(f"promises {frame.promised}")
    if frame.text:
        parts.append(f'"{printable(frame.text)}"')
    if frame.flags and "ACK" in frame.flags:
        parts.append("ACK")
    if run.fin:
        parts.append("END_STREAM" if frame.flags and "END_STREAM" in frame.flags else "FIN")
    parts += [printable(text) for text in (*(frame.settings or ()), *(frame.headers or ()))]
    return " ".join(parts)


def _opening(frame: muxpy.TraceEvent) -> list[str]:
    if frame.stream_type == muxpy.Heartbeat.stream_type:
        return ["heartbeat"]
    parts = []
    if frame.priority:
        parts.append(f"priority {frame.priority}")
    if frame.stream_type:
        hexadecimal = frame.stream_type >= muxpy.MIN_EXTENSION_TYPE
        parts.append(f"type {frame.stream_type:#x}" if hexadecimal else f"type {frame.stream_type}")
    return parts

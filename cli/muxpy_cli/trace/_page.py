"""Lines with styles, written to standard output in large pieces: a trace may have millions of them.

So a line is no Text of rich's, and is cut here: rich takes 126 us to print one, this takes 2.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from rich.cells import cell_len
from rich.console import COLOR_SYSTEMS
from rich.style import Style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.color import ColorSystem

    from ..view import Console

__all__ = ["Line", "Page", "Signs", "cells", "cut"]

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

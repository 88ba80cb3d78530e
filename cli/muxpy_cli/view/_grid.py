"""Columns that fit a width: the less important ones go, the long ones become shorter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Column", "grid_lines", "shortened"]

GAP: Final = 2
"""Blank columns between two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its title and a cell for each row."""

    title: str
    cells: Sequence[str]
    rank: int = 0
    """If there is no room, columns go in the order of falling ranks, those of one rank together. 0: stays."""
    least: int | None = None
    """Its text may be shortened to this many cells. None: not at all."""
    room: int = 0
    """Cells that it takes at least, so that the columns do not jump when numbers change."""
    right: bool = False
    style: str = ""
    styles: Sequence[str] = field(default=())
    """The style of each cell, if they differ."""

    @property
    def natural(self) -> int:
        """The cells that it takes if nothing is shortened."""
        return max(self.room, cell_len(self.title), *map(cell_len, self.cells), 0)

    @property
    def smallest(self) -> int:
        """The cells that it cannot do without."""
        return self.natural if self.least is None else min(self.natural, max(self.least, cell_len(self.title)))

    def cell(self, row: int, width: int) -> Text:
        """A row's cell, exactly so wide."""
        text = shortened(self.cells[row], width)
        padding = " " * (width - cell_len(text))
        style = self.styles[row] if self.styles else self.style
        return Text(padding + text if self.right else text + padding, style=style)

    def head(self, width: int) -> str:
        """The title, exactly so wide."""
        title = shortened(self.title, width)
        padding = " " * (width - cell_len(title))
        return padding + title if self.right else title + padding


def grid_lines(columns: Sequence[Column], width: int) -> list[Text]:
    """The head and the rows, none wider than `width`."""
    kept = _fit(columns, width)
    gap = " " * GAP
    lines = [Text(gap.join(column.head(size) for column, size in kept), style="bold")]
    rows = range(len(columns[0].cells))
    lines += [Text(gap).join(column.cell(row, size) for column, size in kept) for row in rows]
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines


def _fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    kept = list(columns)
    while _needed(kept) > width:
        rank = max(column.rank for column in kept)
        if not rank:
            break
        kept = [column for column in kept if column.rank != rank]
    sizes = _sizes(kept, width - _needed(kept))
    return list(zip(kept, sizes, strict=True))


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.smallest + GAP for column in columns) - GAP


def _sizes(columns: Sequence[Column], spare: int) -> list[int]:
    """What is over goes to the columns that would be shortened, in equal parts as far as they need them."""
    sizes = [column.smallest for column in columns]
    wanting = sorted(range(len(columns)), key=lambda index: columns[index].natural - sizes[index])
    for done, index in enumerate(wanting):
        given = min(columns[index].natural - sizes[index], max(0, spare) // (len(wanting) - done))
        sizes[index] += given
        spare -= given
    return sizes


def shortened(text: str, width: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "\u2026" if width > 0 else ""

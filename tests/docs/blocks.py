"""The fenced blocks of the pages that people follow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PAGES", "ROOT", "Block", "blocks", "files"]

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ("README.md", "cli/deploy/README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAME: Final = re.compile(r"# (\w+\.\w+)\n")


class Block(NamedTuple):
    """A fenced block."""

    page: str
    heading: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line."""
        return self.text.partition("\n")[0]

    @property
    def file(self) -> str | None:
        """The file that it is, if its first line is a comment that names one."""
        match = NAME.match(self.text)
        return match and match[1]

    def __str__(self) -> str:
        return f"{self.page}: {self.heading}: {self.first}"


def blocks(page: str) -> Iterator[Block]:
    """All of a page, in order."""
    text = (ROOT / page).read_text()
    for match in FENCE.finditer(text):
        headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text[: match.start()]), re.MULTILINE)
        yield Block(page, headings[-1], match["language"], match["text"])


def files(page: str) -> dict[str, str]:
    """The blocks of a page that are files, by name."""
    return {block.file: block.text for block in blocks(page) if block.file is not None}

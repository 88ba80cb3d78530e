"""The program's rooms: imports go downwards, as docs/architecture.md draws them, those for types counted."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "cli" / "muxpy_cli"
ENTRY = {"__init__", "__main__"}


def drawn() -> list[str]:
    """The rooms, from the top; those in one line from left to right."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawing = page.split("## The program\n")[1].split("```")[1]
    return [name for line in drawing.strip().splitlines() for name in re.findall(r"[\w_]+", line[:27])]


def imports(file: Path) -> Iterator[str]:
    """The rooms that a file imports from."""
    folder = file.relative_to(PROGRAM).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = folder[: len(folder) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (".".join((*above, name)).partition(".")[0] for name in names)


def files() -> dict[str, list[Path]]:
    rooms: dict[str, list[Path]] = {}
    for file in sorted(PROGRAM.rglob("*.py")):
        rooms.setdefault(file.relative_to(PROGRAM).with_suffix("").parts[0], []).append(file)
    return {room: found for room, found in rooms.items() if room not in ENTRY}


def test_every_room_is_drawn() -> None:
    assert sorted(drawn()) == sorted(files())


def test_imports_go_downwards() -> None:
    order = drawn()
    upwards = [
        f"{file.relative_to(PROGRAM)} imports {other}"
        for room, found in files().items()
        for file in found
        for other in imports(file)
        if other != room and order.index(other) < order.index(room)
    ]
    assert upwards == []


def test_what_the_page_says_where_to_look_is_there() -> None:
    """Each file of the table, and each function or class that it names."""
    table = (ROOT / "docs" / "architecture.md").read_text().split("Where to look for what")[1].split("\n## ")[0]
    named = re.findall(r"`(\w+/\w+\.py)`", table)
    assert len(named) >= 9
    assert [name for name in named if not (PROGRAM / name).is_file()] == []
    source = "".join((PROGRAM / name).read_text() for name in named)
    members = [word for name in re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", table) for word in name.split(".")]
    assert members
    assert [word for word in members if not re.search(rf"(class|def) {word}\b", source)] == []

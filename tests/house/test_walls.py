"""The walls of the house: who may import what, and what nobody reaches for. docs/architecture.md says them."""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from .source import ROOT, Source, sources

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ["muxpy", "cli/muxpy_cli"]
MOST_ATTRIBUTES = 14


def rooms() -> dict[str, set[str]]:
    """The table of rooms in docs/architecture.md: what each may import."""
    found = {}
    for room, allowed in re.findall(r"^\| `([\w/]+)` \|[^|]*\| ([^|]*) \|$", PAGE, re.MULTILINE):
        found[room] = {name.strip("` ") for name in allowed.split(",")}
    return found


def room_of(source: Source) -> str:
    """The innermost room of the table that a file of the library is in."""
    name = source.module.replace(".", "/")
    return max((room for room in rooms() if name == room or name.startswith(f"{room}/")), key=len, default=name)


def test_every_room_imports_what_the_page_says_and_nothing_else() -> None:
    table, library = rooms(), sources("muxpy")
    assert len(table) > 10
    wrong = []
    for source in library.values():
        here = room_of(source)
        assert here in table, f"{source.module} is in no room"
        for module in source.imports:
            there = room_of(library[module])
            if there != here and there not in table[here] and "all" not in table[here]:
                wrong.append(f"{source.module} imports {module}")
    assert wrong == []


def test_every_wall_of_the_page_is_of_use() -> None:
    """What the table allows is imported somewhere: a permission that nobody needs is no wall."""
    library = sources("muxpy")
    used: dict[str, set[str]] = {room: set() for room in rooms()}
    for source in library.values():
        used[room_of(source)] |= {room_of(library[module]) for module in source.imports}
    for room, allowed in rooms().items():
        assert allowed <= used[room] | {"all", "nothing"}, room


def test_the_map_has_every_file() -> None:
    """Each file of the library stands in the map of docs/architecture.md, and each of the map is there."""
    named = set(re.findall(r"`(muxpy/[\w/]+\.py)`", PAGE))
    there = {str(source.path.relative_to(ROOT)) for source in sources("muxpy").values()}
    assert named == {path for path in there if not path.endswith("__init__.py")}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_of_imports(package: str) -> None:
    """Types counted."""
    graph = {module: set(source.imports) for module, source in sources(package).items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_private_member_of_another_file(package: str) -> None:
    assert [member for source in sources(package).values() for member in source.strange_members()] == []


def test_no_class_of_the_library_has_many_attributes() -> None:
    counts = {name: len(names) for source in sources("muxpy").values() for name, names in source.attributes().items()}
    assert {name: count for name, count in counts.items() if count > MOST_ATTRIBUTES} == {}


@pytest.mark.parametrize(
    "module", ["muxpy", "muxpy.frame.muxado", "muxpy.frame.http2", "muxpy.proto", "muxpy.proto.muxado"]
)
def test_below_the_session_nothing_loads_trio(module: str) -> None:
    program = f"import sys, {module}; sys.exit(not {{'trio', 'ssl', 'socket'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_the_program_knows_public_names_only() -> None:
    found = [
        f"{source.path.name}: {line.strip()}"
        for source in sources("cli/muxpy_cli").values()
        for line in source.path.read_text().splitlines()
        if re.match(r"\s*(from|import) muxpy\.", line) and not re.match(r"\s*from muxpy\.ext import", line)
    ]
    assert found == []

"""The project's source as a graph of files and imports, types counted."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ROOT", "Source", "sources"]

ROOT = Path(__file__).parents[2]


@dataclass
class Source:
    """One file."""

    path: Path
    module: str
    tree: ast.Module
    imports: dict[str, set[str]] = field(default_factory=dict)
    """The modules of the same package that it imports, under `if TYPE_CHECKING` too, and the names out of each."""

    @property
    def own_names(self) -> set[str]:
        """Names that begin with an underscore and are made here: of functions, classes, variables and attributes."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    found.add(name)
        return {name for name in found if is_private(name)}

    def strange_members(self) -> Iterator[str]:
        """Private members of other files that are used here."""
        own = self.own_names
        for node in ast.walk(self.tree):
            match node:
                case ast.Attribute(value=value, attr=name) if is_private(name) and name not in own:
                    if not (isinstance(value, ast.Name) and value.id in ("self", "cls")):
                        yield f"{self.module}:{node.lineno}: {ast.unparse(node)}"
        for module, names in self.imports.items():
            yield from (f"{self.module}: {name} of {module}" for name in names if is_private(name))

    def attributes(self) -> dict[str, set[str]]:
        """The attributes of each class that has a state."""
        found: dict[str, set[str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                names = {
                    one.attr
                    for one in ast.walk(node)
                    if isinstance(one, ast.Attribute)
                    and isinstance(one.ctx, ast.Store)
                    and isinstance(one.value, ast.Name)
                    and one.value.id == "self"
                }
                if names:
                    found[f"{self.module}.{node.name}"] = names
        return found


def is_private(name: str) -> bool:
    """`_name`, but neither `__name__` nor `_name_`, as enums have them, nor `_` alone; os._exit is documented."""
    return name.startswith("_") and not name.endswith("_") and name != "_exit"


@cache
def sources(folder: str) -> dict[str, Source]:
    """The files of a package by module name, such as `muxpy.session._stream`; a package's own is its `__init__`."""
    root = ROOT / folder
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        module = ".".join(part for part in parts if part != "__init__")
        found[module] = Source(path, module, ast.parse(path.read_text()))
    for source in found.values():
        for module, name in _imported(source):
            # `from package import module` is an import of the module.
            if f"{module}.{name}" in found:
                source.imports.setdefault(f"{module}.{name}", set())
            elif module in found:
                source.imports.setdefault(module, set()).add(name)
    return found


def _imported(source: Source) -> Iterator[tuple[str, str]]:
    package = source.module.split(".")
    if source.path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)

"""What a table may hold, as data: reading it follows from that, and the words about unknown keys and wrong types.

A schema is a tree of nodes. Each reads one value of the document and gives what it means; what is wrong is noted in
the document, so that one run finds all of it, and then the value is BROKEN.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..specs import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._document import Document
    from ._positions import Where

__all__ = ["BROKEN", "Array", "Named", "Node", "Section", "Table", "Value", "shown"]

BROKEN: Final = object()
"""Stands for a value with a problem, which has been noted."""

MAX_SHOWN: Final = 60
"""Characters of a value that a message repeats."""

_KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    list: "an array",
    dict: "a table",
}


class Node(Protocol):
    """A place in the schema."""

    @property
    def example(self) -> str:
        """A right value, as TOML has it."""

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """What the value means, or BROKEN."""


class Section(dict[str, Any]):
    """What a table says: its keys that are right, and what they mean."""

    def __init__(self, where: Where, given: frozenset[str]) -> None:
        super().__init__()
        self.where = where
        self.given = given
        """All keys of the table, also those with a problem."""

    def way(self, name: str) -> Where:
        """To one of its keys."""
        return (*self.where, name)

    def pick(self, **names: str) -> dict[str, Any]:
        """Keyword arguments for a dataclass: for each, the key that it comes from, if that is given."""
        return {argument: self[name] for argument, name in names.items() if name in self}


@dataclass(frozen=True, slots=True)
class Value:
    """A single value of one of some types, which `convert` makes something of. It raises ValueError with the reason."""

    types: tuple[type, ...]
    example: str
    convert: Callable[[Any, Document], Any]

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """The converted value."""
        if type(raw) not in self.types:  # not isinstance: a bool is an int
            kinds = " or ".join(_KINDS[kind] for kind in self.types if kind is not int or float not in self.types)
            document.wrong(where, f"it must be {kinds}, not {_kind(raw)}; for example {self.example}")
            return BROKEN
        try:
            return self.convert(raw, document)
        except ValueError as error:
            document.wrong(where, f"{shown(raw)}: {error}")
            return BROKEN


@dataclass(frozen=True, slots=True)
class Array:
    """An array; what is wrong with an element is noted there, and the others are read."""

    element: Node

    @property
    def example(self) -> str:
        """One with one element."""
        return f"[{self.element.example}]"

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """A tuple of what the elements mean."""
        if not isinstance(raw, list):
            document.wrong(where, f"it must be an array, not {_kind(raw)}; for example {self.example}")
            return BROKEN
        values = tuple(self.element.read(document, (*where, index), value) for index, value in enumerate(raw))
        return BROKEN if BROKEN in values else values


@dataclass(frozen=True, slots=True)
class Table:
    """A table with known keys."""

    keys: Mapping[str, Node]
    required: tuple[str, ...] = ()
    example: str = "a table"

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """A Section."""
        if not isinstance(raw, dict):
            document.wrong(where, f"it must be a table, not {_kind(raw)}; for example {self.example}")
            return BROKEN
        section = Section(where, frozenset(raw))
        for name, value in raw.items():
            self._read_key(document, section, name, value)
        for name in self.required:
            if name not in raw:
                document.wrong(where, f"{name} is missing; for example {name} = {self.keys[name].example}")
        return section

    def _read_key(self, document: Document, section: Section, name: str, raw: object) -> None:
        where = section.way(name)
        if (node := self.keys.get(name)) is None:
            document.wrong(where, f"unknown key; {self._instead_of(name)}", at_key=True)
        elif (value := node.read(document, where, raw)) is not BROKEN:
            section[name] = value

    def _instead_of(self, name: str) -> str:
        """What may be meant: a key with nearly that name here, or in a table of this table."""
        if name_here := _closest(name, self.keys):
            return f"did you mean {name_here}?"
        for inner, node in self.keys.items():
            if isinstance(node, Table) and (name_there := _closest(name, node.keys)):
                return f"did you mean {name_there} in the table {inner}?"
        return f"known here: {', '.join(self.keys)}"


@dataclass(frozen=True, slots=True)
class Named:
    """A table whose keys are names that the user chooses."""

    node: Node
    check: Callable[[str], str | None]
    """What is wrong with a name, if anything is."""
    example: str

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """A Section, with the names as keys."""
        if not isinstance(raw, dict):
            document.wrong(where, f"it must be a table, not {_kind(raw)}; for example {self.example}")
            return BROKEN
        section = Section(where, frozenset(raw))
        for name, inner in raw.items():
            if problem := self.check(name):
                document.wrong((*where, name), problem, at_key=True)
            elif (value := self.node.read(document, (*where, name), inner)) is not BROKEN:
                section[name] = value
        return section


def shown(raw: object) -> str:
    """A value for a message: as TOML has it, or nearly, and not too long."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, str):
        text = f'"{printable(raw)}"'
    elif isinstance(raw, int) and abs(raw) >= 10**MAX_SHOWN:  # Python does not write out the largest ones
        return "the number"
    else:
        text = str(raw)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _kind(raw: object) -> str:
    """What a value is, in words, with the value if it is a single one."""
    if isinstance(raw, (list, dict)):
        return _KINDS[type(raw)]
    return shown(raw)


def _closest(name: str, names: Mapping[str, Node]) -> str | None:
    dashed = name.lower().replace("_", "-")
    return next(iter(get_close_matches(dashed, names, n=1, cutoff=0.7)), None)

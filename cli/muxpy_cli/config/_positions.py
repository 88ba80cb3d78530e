"""Where in a TOML text each key and each value stands.

tomllib decides what the text means, and whether it is TOML at all, but says nothing about places, and neither do the
libraries that keep the layout. A text that tomllib has accepted takes only a scanner to find the places in: it skips
strings, comments and brackets, and judges nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Place", "Positions", "Where"]

Where: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys of tables, and indices of arrays from 0."""

# The first pattern that matches counts. A multi-line string may end in up to five quotes, two of them its own.
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_KEY: Final = re.compile(r"""[^\s.=\[\]{}"'#,]+""")
_SCALAR: Final = re.compile(r"[^,\[\]{}#\n]+")
_BLANK: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


class Place(NamedTuple):
    """A place in the text; both numbers count from 1, the column in characters."""

    line: int
    column: int


class Positions:
    """The places of a text that tomllib accepts."""

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        scanner = _Scanner(text)
        scanner.scan()
        self._keys, self._values = scanner.keys, scanner.values

    def key(self, where: Where) -> Place:
        """Where its key stands; for an element of an array, the element."""
        return self._find(where, self._keys, self._values)

    def value(self, where: Where) -> Place:
        """Where the value begins; for a table with a header or with dotted keys, its key."""
        return self._find(where, self._values, self._keys)

    def _find(self, where: Where, *tables: dict[Where, int]) -> Place:
        """The place of what is there; of what holds it, if it is not."""
        for length in range(len(where), 0, -1):
            for table in tables:
                if (offset := table.get(where[:length])) is not None:
                    return self._place(offset)
        return Place(1, 1)

    def _place(self, offset: int) -> Place:
        line = bisect_right(self._line_starts, offset)
        return Place(line, offset - self._line_starts[line - 1] + 1)


class _Scanner:
    """One walk through the text; what it finds are offsets."""

    def __init__(self, text: str) -> None:
        self.keys: dict[Where, int] = {}
        self.values: dict[Where, int] = {}
        self._text = text
        self._at = 0
        self._last: dict[Where, int] = {}
        """The index of the last element of each array of tables, which headers below it speak of."""

    def scan(self) -> None:
        table: Where = ()
        self._skip(_BETWEEN)
        while self._at < len(self._text):
            if self._next("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BETWEEN)

    def _header(self) -> Where:
        """`[a.b]` or `[[a.b]]`: the way to the table that it begins."""
        brackets = 2 if self._next("[[") else 1
        self._at += brackets
        names = self._dotted_key()
        way = self._descend((), names[:-1])
        name, offset = names[-1]
        way = (*way, name)
        self.keys[way] = self.values[way] = offset  # rather than where a header of a table below mentioned it
        if brackets == 2:
            self._last[way] = self._last.get(way, -1) + 1
            way = (*way, self._last[way])
            self.values[way] = offset
        self._skip(_BLANK)
        self._at += brackets
        return way

    def _pair(self, table: Where) -> None:
        """`a.b = value`"""
        way = self._descend(table, self._dotted_key())
        self._skip(_BLANK)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(way)

    def _value(self, way: Where) -> None:
        self.values[way] = self._at
        if self._next("["):
            self._array(way)
        elif self._next("{"):
            self._inline_table(way)
        else:
            self._skip(_STRING if self._next('"', "'") else _SCALAR)

    def _array(self, way: Where) -> None:
        index = 0
        self._step()
        while not self._next("]"):
            self._value((*way, index))
            index += 1
            self._comma()
        self._at += 1

    def _inline_table(self, way: Where) -> None:
        self._step()
        while not self._next("}"):
            self._pair(way)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._skip(_BETWEEN)
        if self._next(","):
            self._step()

    def _dotted_key(self) -> list[tuple[str, int]]:
        names = []
        while True:
            self._skip(_BLANK)
            offset = self._at
            names.append((self._name(), offset))
            self._skip(_BLANK)
            if not self._next("."):
                return names
            self._at += 1

    def _name(self) -> str:
        if self._next('"', "'"):
            quoted = self._skip(_STRING)
            return str(tomllib.loads(f"key = {quoted}")["key"])  # it knows the escapes
        return self._skip(_BARE_KEY)

    def _descend(self, way: Where, names: list[tuple[str, int]]) -> Where:
        """Down from there by names; of an array of tables, the last element is meant."""
        for name, offset in names:
            way = (*way, name)
            self.keys.setdefault(way, offset)
            self.values.setdefault(way, offset)
            if way in self._last:
                way = (*way, self._last[way])
        return way

    def _next(self, *texts: str) -> bool:
        return self._text.startswith(texts, self._at)

    def _step(self) -> None:
        self._at += 1
        self._skip(_BETWEEN)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None  # tomllib has accepted the text
        self._at = match.end()
        return match[0]

"""Where in a TOML text a key stands."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["find_line"]

# A key with its equals sign; quoted parts may hold anything.
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_.\s-]|"[^"]*"|'[^']*')+?)\s*=""")


def find_line(text: str, keys: Sequence[str]) -> int | None:
    """The line of `keys`, from 1, or of the table around it; None if not even that is found.

    A line at a time, which is enough for a message: what stands inside a multi-line string may mislead it.
    """
    best, line = 0, None
    for number, path in _paths(text):
        common = min(len(path), len(keys))
        if common > best and path[:common] == tuple(keys[:common]):
            best, line = common, number
    return line


def _paths(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            header = _single_path(line)
            if header is not None:
                table = header
                yield number, table
        elif (match := _KEY.match(line)) and (key := _single_path(match[1] + " = 0")):
            yield number, table + key


def _single_path(line: str) -> tuple[str, ...] | None:
    """The keys of a text with one header, or one key."""
    try:
        value: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path = []
    while isinstance(value, dict) and value:
        key, value = next(iter(value.items()))
        path.append(key)
        if isinstance(value, list):  # [[header]]
            value = None
    return tuple(path)

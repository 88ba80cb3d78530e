"""A fuzzer's input, read as a script: each byte is a choice."""

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Script"]

T = TypeVar("T")


class Script:
    """Reads choices from bytes. Past the end every choice is the first one, so that any input is a script."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def byte(self) -> int:
        """The next byte; 0 past the end."""
        if not self:
            return 0
        self._position += 1
        return self._data[self._position - 1]

    def some(self, count: int) -> bytes:
        """The next `count` bytes, or as many as there are."""
        start = self._position
        self._position = min(start + count, len(self._data))
        return self._data[start : self._position]

    def rest(self) -> bytes:
        """All that is left."""
        return self.some(len(self._data))

    def word(self) -> int:
        """A number of 32 bits."""
        return int.from_bytes(self.some(4).ljust(4, b"\0"), "big")

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.byte() & 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`."""
        return choices[self.byte() % len(choices)]

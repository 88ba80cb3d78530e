"""What is kept of header blocks, because they come again."""

from typing import Final, TypeVar

__all__ = ["MAX_BLOCK", "MAX_BLOCKS", "Repeats"]

MAX_BLOCKS: Final = 256
"""How many blocks one direction of a connection keeps."""
MAX_BLOCK: Final = 512
"""Bytes of the longest encoded block that is kept."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Repeats(dict[Key, Value]):
    """Values by keys that came twice. Of a key that came once only the hash stays: each request of a browser may have a
    path of its own. When either is full it starts anew, which costs less than to know what to drop.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def keep(self, key: Key, value: Value) -> None:
        """Keep this if it has come before."""
        mark = hash(key)
        if mark in self._seen:
            if len(self) >= MAX_BLOCKS:
                self.clear()
            self[key] = value
        else:
            if len(self._seen) >= MAX_BLOCKS:
                self._seen.clear()
            self._seen.add(mark)

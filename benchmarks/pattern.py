"""The bytes that bulk sends, so that the receiver can check each of them.

Block i of 32 bytes is the SHA-256 of i as 8 bytes, big-endian; 2,048 blocks are the pattern, which then repeats. The
Go program makes the same. A byte that is lost, doubled or moved is noticed; a shift by a multiple of 64 KiB is noticed
by the count.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["BLOCK", "PATTERN", "WRONG", "Checker", "pieces"]

BLOCK: Final = 65536
PATTERN: Final = b"".join(sha256(number.to_bytes(8, "big")).digest() for number in range(BLOCK // 32))

WRONG: Final = 2**64 - 1
"""What a receiver answers instead of its count if a byte was wrong."""

_REPEATED: Final = PATTERN * 9
"""The pattern from any offset, as long as one read can be: muxpy returns up to 512 KiB."""


class Checker:
    """Compares arriving bytes with the pattern."""

    def __init__(self) -> None:
        self.count = 0
        self.intact = True

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes. `startswith` is a memcmp without a copy: cheap beside the receiving itself."""
        self.intact = self.intact and _REPEATED.startswith(data, self.count % BLOCK)
        self.count += len(data)

    def answer(self) -> bytes:
        """The answer to the sender, at the end."""
        return (self.count if self.intact else WRONG).to_bytes(8, "big")


def pieces(size: int) -> list[bytes]:
    """The pattern in writes of `size` bytes, to be sent over and over."""
    if size >= BLOCK:
        if size % BLOCK:
            raise ValueError(f"{size} is no multiple of {BLOCK}")
        return [PATTERN * (size // BLOCK)]
    if BLOCK % size:
        raise ValueError(f"{size} does not divide {BLOCK}")
    return [PATTERN[start : start + size] for start in range(0, BLOCK, size)]

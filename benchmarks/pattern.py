"""The bytes that bulk sends, so that the receiver can check each of them.

Block i of 32 bytes is the SHA-256 of i as 8 bytes, big-endian; 2,048 blocks are the pattern, which then repeats. The
Go program makes the same. A byte that is lost, doubled or moved shows, unless by a multiple of 64 KiB, and that
shows in the count.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["BLOCK", "PATTERN", "WRONG", "Checker", "pieces"]

BLOCK: Final = 65536
PATTERN: Final = b"".join(sha256(number.to_bytes(8, "big")).digest() for number in range(BLOCK // 32))

WRONG: Final = 2**64 - 1
"""What a receiver answers instead of its count when a byte was not what it should be."""

_REPEATED: Final = PATTERN * 5
"""From any offset in the pattern as long as one read can be: muxpy hands out up to 256 KiB."""


class Checker:
    """Compares what arrives with the pattern."""

    def __init__(self) -> None:
        self.count = 0
        self.intact = True

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes. `startswith` is a memcmp without a copy: cheap beside the receiving itself."""
        self.intact = self.intact and _REPEATED.startswith(data, self.count % BLOCK)
        self.count += len(data)

    def answer(self) -> bytes:
        """What the sender is told at the end."""
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

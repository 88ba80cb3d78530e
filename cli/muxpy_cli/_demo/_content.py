"""Bytes that both sides of the demo can make for themselves, so that each knows the SHA-256 sum to expect."""

from __future__ import annotations

import hashlib
import random
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHUNK", "bulk", "bulk_digest", "small"]

CHUNK: Final = 256 * 1024
POOL: Final = 16


@cache
def _pool() -> list[bytes]:
    """Random bytes, made once: making all anew would measure the generator and not the tunnel."""
    source = random.Random(4242)
    return [source.randbytes(CHUNK) for _ in range(POOL)]


def bulk(seed: int, length: int) -> Iterator[bytes]:
    """Pseudo-random bytes. Each chunk carries its seed and place: none can be lost, repeated or swapped unseen."""
    pool = _pool()
    for place, start in enumerate(range(0, length, CHUNK)):
        label = seed.to_bytes(8, "big") + place.to_bytes(8, "big")
        chunk = label + pool[(seed + place) % POOL][len(label) :]
        yield chunk[: length - start]


def bulk_digest(seed: int, length: int) -> str:
    """The SHA-256 sum of `bulk(seed, length)`."""
    digest = hashlib.sha256()
    for chunk in bulk(seed, length):
        digest.update(chunk)
    return digest.hexdigest()


def small(number: int) -> bytes:
    """The answer to a small request: 64 to 2,047 bytes."""
    return hashlib.shake_128(str(number).encode()).digest(64 + number * 37 % 1984)

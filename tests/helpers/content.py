"""Bytes that both ends of a test know, so that what is lost, doubled, moved or another's shows."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["COUNTED", "named"]

COUNTED: Final = bytes(range(251)) * 4200
"""The byte at offset n is n modulo 251, which divides no power of two: what moved by a frame or a window shows."""


def named(name: object, size: int) -> bytes:
    """So many bytes that no other name has."""
    return hashlib.shake_256(str(name).encode()).digest(size)

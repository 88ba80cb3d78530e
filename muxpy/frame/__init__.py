"""Bytes to frames and back, a package for each protocol. Knows nothing of sessions and nothing of trio."""

from ._other_protocols import ENOUGH, known_beginning

__all__ = ["ENOUGH", "Buffer", "known_beginning"]

Buffer = bytes | bytearray | memoryview
"""A container of bytes: what is received or sent."""

"""Bytes to frames and back, a package for each protocol. Knows nothing of sessions and nothing of trio."""

__all__ = ["Buffer"]

Buffer = bytes | bytearray | memoryview
"""A container of bytes: what is received or sent."""

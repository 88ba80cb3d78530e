"""The rules of muxado (docs/protocol.md), sans I/O."""

from ._connection import Connection

__all__ = ["Connection"]

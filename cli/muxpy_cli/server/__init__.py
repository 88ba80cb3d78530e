"""The listening end."""

from ._server import Server

__all__ = ["Server"]

"""The listening end."""

from ._peer import Peer
from ._server import Server

__all__ = ["Peer", "Server"]

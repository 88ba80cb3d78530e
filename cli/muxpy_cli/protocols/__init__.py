"""Protocols of clients and targets, other than muxpy's own. Sans I/O: bytes in, bytes out."""

from ._handshake import Handshake
from ._http import HttpProxy
from ._proxy_header import proxy_header
from ._socks import SocksServer

__all__ = ["Handshake", "HttpProxy", "SocksServer", "proxy_header"]

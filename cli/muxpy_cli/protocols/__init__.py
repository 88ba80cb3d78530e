"""Protocols of clients and targets that are not muxpy's own. No I/O here: bytes in, bytes out."""

from ._handshake import Handshake
from ._http import HttpProxy
from ._proxy_header import proxy_header
from ._socks import SocksServer

__all__ = ["Handshake", "HttpProxy", "SocksServer", "proxy_header"]

"""Protocols of clients and targets that are not muxpy's own. No I/O here: bytes in, bytes out."""

from ._handshake import Handshake, Target
from ._http import HttpProxy, ProxyRequest
from ._proxy_header import proxy_header
from ._socks import SocksRequest, SocksServer

__all__ = ["Handshake", "HttpProxy", "ProxyRequest", "SocksRequest", "SocksServer", "Target", "proxy_header"]

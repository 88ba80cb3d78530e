"""HTTP/2 for Trio: a server (`serve`) and a client (`connect`). docs/http2.md describes both."""

from muxpy._http_config import HttpConfig as Config
from muxpy.frame.http2 import Http2Code as ErrorCode

from ._client import Client, TunnelRefused, connect
from ._exchange import Exchange
from ._headers import Headers
from ._request import Request
from ._response import Response
from ._serve import serve, serve_stream
from ._session import HttpSession

__all__ = [
    "Client",
    "Config",
    "ErrorCode",
    "Exchange",
    "Headers",
    "HttpSession",
    "Request",
    "Response",
    "TunnelRefused",
    "connect",
    "serve",
    "serve_stream",
]

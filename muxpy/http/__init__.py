"""HTTP/2 for Trio: a server (`serve`) and a client (`connect`).

A server answers each request in a task of its own:

    async def answer(exchange: http.Exchange) -> None:
        await exchange.respond(200, {"content-type": "text/plain"}, b"hello")

    await http.serve(answer, 8443, ssl_context=context)

A client makes any number of requests over one connection:

    async with http.connect("https://example.org") as client:
        response = await client.request("GET", "/")
        print(response.status, await response.read())

Exchanges and responses are streams: `muxpy.Stream` says how they are read, sent, cancelled and reset, and with which
errors. docs/http.md has more examples, and docs/http2.md says what happens in each case.
"""

from muxpy._http_config import Config
from muxpy.frame.http2 import Http2Code as ErrorCode
from muxpy.frame.http2 import NeverIndexed

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
    "NeverIndexed",
    "Request",
    "Response",
    "TunnelRefused",
    "connect",
    "serve",
    "serve_stream",
]

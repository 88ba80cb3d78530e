"""Asking over HTTP/2."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from muxpy._codes import ErrorCode
from muxpy._http_config import HttpConfig
from muxpy._running import connect_tcp, prepared, run_session, secure
from muxpy.proto import Opening
from muxpy.transport import StreamTransport

from ._headers import as_fields, as_pairs
from ._response import Response
from ._session import HttpSession, look_after, make_session, prepare_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator, Callable

    from muxpy.proto import Fields
    from muxpy.transport import Transport

    from ._headers import Headers, HeadersLike

    Body = bytes | bytearray | memoryview | AsyncIterable[bytes]

__all__ = ["Client", "TunnelRefused", "connect"]

log = logging.getLogger("muxpy.http")

PORTS = {"http": 80, "https": 443}


class TunnelRefused(OSError):
    """A proxy has not opened the tunnel. `response` is its answer, whose body may still be read."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the proxy has answered {response.status} to CONNECT")
        self.response = response


class Client:
    """Requests over one connection: see `connect`."""

    def __init__(self, session: HttpSession, nursery: trio.Nursery, scheme: str, authority: str) -> None:
        self.session = session
        """The connection: statistics, `go_away`, `wait`."""
        self.scheme = scheme
        self.authority = authority
        """Whom requests are for, unless they say otherwise."""
        self._nursery = nursery

    async def request(
        self,
        method: str,
        path: str = "/",
        headers: HeadersLike = (),
        body: Body = b"",
        *,
        authority: str | None = None,
        informed: Callable[[int, Headers], object] | None = None,
    ) -> Response:
        """Send a request, and wait for the head of the response. It waits too while the server takes no more requests
        at the same time.

        `path` has the query. `body`: bytes, or an asynchronous iterable of bytes; it is sent in the background where it
        does not go at once, and broken off if the response ends first. `informed` is called with each interim response.

        Raises ValueError for what cannot be sent; StreamReset, which is `retryable` where the server cannot have acted
        on the request; SessionGoingAway and SessionClosed if the connection takes no more requests, or has ended.
        """
        known = len(body) if isinstance(body, (bytes, bytearray)) else None
        if isinstance(body, memoryview):
            known = body.nbytes
        added = [("content-length", str(known))] if known else []
        response = await self.open(method, path, [*as_pairs(headers), *added], authority=authority, end=known == 0)
        try:
            if known != 0:
                self._nursery.start_soon(_send, response, body)
            return await response.started(informed)
        except BaseException:
            response.reset()
            raise

    async def open(
        self,
        method: str,
        path: str = "/",
        headers: HeadersLike = (),
        *,
        authority: str | None = None,
        end: bool = False,
    ) -> Response:
        """Send the head of a request, and leave it to the caller to send the body by the `send_all` of what is
        returned, and its `send_eof` or `finish`; with `end` there is none. `Response.started` waits for the response:
        both may go on together (full duplex).

        Raises the exceptions of `request`.
        """
        pseudo = (
            (b":method", method.encode("latin-1")),
            (b":scheme", self.scheme.encode()),
            (b":authority", (authority or self.authority).encode("latin-1")),
            (b":path", path.encode("latin-1")),
        )
        return await self._open((*pseudo, *as_fields(headers)), end=end)

    @asynccontextmanager
    async def tunnel(self, target: str, headers: HeadersLike = ()) -> AsyncIterator[Response]:
        """Have the server, a proxy, connect to `target`, as in `db:5432`, by CONNECT. In the block there is a stream
        of bytes in both directions, which may be spliced to a socket.

        Raises TunnelRefused if the answer is no, and the exceptions of `request`.
        """
        head = ((b":method", b"CONNECT"), (b":authority", target.encode("latin-1")), *as_fields(headers))
        async with await self._open(head) as stream:
            yield await _agreed(stream)

    @asynccontextmanager
    async def extended_connect(
        self, protocol: str, path: str = "/", headers: HeadersLike = (), *, authority: str | None = None
    ) -> AsyncIterator[Response]:
        """Speak another protocol, such as `websocket`, with a resource of the server (extended CONNECT, RFC 8441).

        Raises TunnelRefused if the answer is no, NotImplementedError if the server does not take it; and the exceptions
        of `request`.
        """
        if not self.session.core.takes_connect:
            await self.session.ping()  # its settings come before any answer
            if not self.session.core.takes_connect:
                raise NotImplementedError("the server does not take extended CONNECT")
        pseudo = (
            (b":method", b"CONNECT"),
            (b":protocol", protocol.encode("latin-1")),
            (b":scheme", self.scheme.encode()),
            (b":authority", (authority or self.authority).encode("latin-1")),
            (b":path", path.encode("latin-1")),
        )
        async with await self._open((*pseudo, *as_fields(headers))) as stream:
            yield await _agreed(stream)

    async def _open(self, head: Fields, *, end: bool = False) -> Response:
        session = self.session
        state = await session.engine.openers.open(Opening(head=head), fin=end)
        session.engine.acted()
        return Response(session, session.engine, state)


async def _agreed(stream: Response) -> Response:
    await stream.started()
    if not 200 <= stream.status < 300:
        raise TunnelRefused(stream)
    return stream


async def _send(response: Response, body: Body) -> None:
    """Send a request's body. Whoever waits for the response learns what goes wrong with the stream."""
    try:
        if isinstance(body, (bytes, bytearray, memoryview)):
            await response.send_all(body, end=True)
            return
        async for chunk in body:
            await response.send_all(chunk)
        await response.finish()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        log.debug("%r: the rest of the request was not sent: %s", response, error)
    except Exception:
        log.exception("%r: the request's body failed, the request is reset", response)
        response.reset(ErrorCode.INTERNAL_ERROR)


@asynccontextmanager
async def connect(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    config: HttpConfig | None = None,
    stream: trio.abc.Stream | None = None,
) -> AsyncIterator[Client]:
    """Connect to the server of `url`, and speak HTTP/2 with it: over TLS for `https`, where ALPN must choose it, and
    immediately for `http` (h2c by prior knowledge). What stands in the URL after host and port is not used.

    `ssl_context`: for `https`; by default, one that checks certificates by the system's authorities. `stream`: any Trio
    stream to use rather than to connect; with `https`, a trio.SocketStream. Leaving the block gives up what was not
    read, and closes the connection.

    Raises ValueError for a URL that is none, OSError if the connection fails, ssl.SSLError (an OSError too) if TLS
    fails, and trio.BrokenResourceError if the server does not offer HTTP/2.
    """
    scheme, host, port, authority = _parts(url)
    config = config or HttpConfig()
    context = _context(scheme, ssl_context)
    transport = await _transport(host, port, context, config, stream)
    make = partial(make_session, client=True, config=config, kind=Response)
    async with run_session(transport, config, make) as session, trio.open_nursery() as nursery:
        nursery.start_soon(look_after, {session})
        try:
            yield Client(session, nursery, scheme, authority)
        finally:
            nursery.cancel_scope.cancel()
            for state in list(session.engine.unfinished()):
                session.engine.end_stream(state, ErrorCode.CANCEL)


def _parts(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"the URL begins with http:// or https:// and a host; this is {url!r}")
    authority = parts.netloc.rpartition("@")[2]
    if "@" in parts.netloc:
        raise ValueError("a user and password in the URL are not sent; use an `authorization` field")
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], authority


def _context(scheme: str, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if scheme == "http":
        if given is not None:
            raise ValueError("an ssl_context is for https:// URLs")
        return None
    import ssl  # loading it takes as long as all of muxpy

    context = given or ssl.create_default_context()
    prepare_tls(context)
    return context


async def _transport(
    host: str, port: int, context: ssl.SSLContext | None, config: HttpConfig, stream: trio.abc.Stream | None
) -> Transport:
    if stream is None:
        return await connect_tcp(host, port, context, config)
    if isinstance(stream, trio.SocketStream):
        return await secure(stream, context, config, server_hostname=host)
    if context is not None:
        raise TypeError("https needs a trio.SocketStream; wrap anything else in a trio.SSLStream and use http")
    return prepared(StreamTransport(stream), config)

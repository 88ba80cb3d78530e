"""Asking over HTTP/2."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio

from muxpy._codes import ErrorCode
from muxpy._http_config import Config as HttpConfig
from muxpy._running import connect_tcp, run_session, transport_over
from muxpy.proto import Opening

from ._headers import as_bytes, as_fields, as_pairs
from ._request import PORTS
from ._response import Response
from ._session import HttpSession, looking_after, make_session, parts_of, prepare_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from muxpy.proto import Fields
    from muxpy.transport import Transport

    from ._headers import Headers, HeadersLike

    Body = bytes | bytearray | memoryview | AsyncIterable[bytes | bytearray]

__all__ = ["Client", "TunnelRefused", "connect"]

log = logging.getLogger("muxpy.http")


BODIES: Final = ("POST", "PUT", "PATCH")
"""Methods whose requests say also that their body is empty (RFC 9110, 8.6)."""

MOST_OF_REFUSAL: Final = 64 * 1024
"""Bytes of a refusal's body that are kept."""


class TunnelRefused(OSError):
    """The server has not opened the tunnel. `response` is its answer, with status and headers, and `body` the first
    64 KiB of what it said more."""

    def __init__(self, response: Response, body: bytes) -> None:
        super().__init__(f"the server has answered {response.status} to CONNECT")
        self.response = response
        self.body = body


class Client:
    """Requests over one connection, by any number of tasks: see `connect`."""

    def __init__(self, session: HttpSession, nursery: trio.Nursery, scheme: str, authority: str) -> None:
        self._session = session
        self._core, self._engine = parts_of(session)
        self._scheme = scheme
        self._authority = authority
        self._nursery = nursery

    @property
    def session(self) -> HttpSession:
        """The connection: statistics, `ping`, `go_away`, `wait`."""
        return self._session

    @property
    def scheme(self) -> str:
        """`http` or `https`, as in the URL."""
        return self._scheme

    @property
    def authority(self) -> str:
        """Whom requests are for, unless they say otherwise: host and port of the URL."""
        return self._authority

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

        `path` has the query. `body`: bytes, whose `content-length` is added, or an asynchronous iterable of bytes. What
        does not go with the head is sent in the background, also after this has returned, and broken off if the
        response ends first. If it raises an exception, the request is reset, and whoever waits for the response gets
        trio.BrokenResourceError, whose cause is that exception. `informed` is called with status and fields of each
        interim response.

        Raises ValueError for what cannot be sent; StreamReset, which is `retryable` where the server cannot have acted
        on the request; SessionGoingAway and SessionClosed if the connection takes no more requests, or has ended.
        """
        _check_body(body)
        if isinstance(body, (bytes, bytearray, memoryview)):
            size = memoryview(body).nbytes
            headers = _with_length(method, headers, size)
            response = await self.open(method, path, headers, authority=authority, end=not size)
        else:
            size = None
            response = await self.open(method, path, headers, authority=authority)
        try:
            if size != 0 and not (isinstance(body, bytes) and response.sent_now(body)):
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
            (b":method", as_bytes(method)),
            (b":scheme", self.scheme.encode()),
            (b":authority", as_bytes(authority or self.authority)),
            (b":path", _target(method, path)),
        )
        return await self._open((*pseudo, *as_fields(headers)), end=end)

    @asynccontextmanager
    async def tunnel(self, target: str, headers: HeadersLike = ()) -> AsyncIterator[Response]:
        """Have the server, a proxy, connect to `target`, as in `db:5432`, by CONNECT. In the block there is a stream
        of bytes in both directions, which may be spliced to a socket.

        Raises TunnelRefused if the answer is no, and the exceptions of `request`.
        """
        head = ((b":method", b"CONNECT"), (b":authority", as_bytes(target)), *as_fields(headers))
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
        if not self._core.takes_connect:
            await self.session.ping()  # its settings come before any answer
            if not self._core.takes_connect:
                raise NotImplementedError("the server does not take extended CONNECT")
        pseudo = (
            (b":method", b"CONNECT"),
            (b":protocol", as_bytes(protocol)),
            (b":scheme", self.scheme.encode()),
            (b":authority", as_bytes(authority or self.authority)),
            (b":path", _target("GET", path)),
        )
        async with await self._open((*pseudo, *as_fields(headers))) as stream:
            yield await _agreed(stream)

    async def _open(self, head: Fields, *, end: bool = False) -> Response:
        state = await self._engine.openers.open(Opening(head=head), fin=end)
        self._engine.acted()
        return Response(self._session, self._engine, state)


async def _agreed(stream: Response) -> Response:
    await stream.started()
    if not 200 <= stream.status < 300:
        raise TunnelRefused(stream, await _beginning(stream))
    return stream


async def _beginning(stream: Response) -> bytes:
    """As much of the body as is worth reading."""
    body = b""
    try:
        with suppress(trio.BrokenResourceError):  # the server may have reset the request after its whole answer
            await stream.send_eof()
        async for chunk in stream:
            body += chunk
            if len(body) >= MOST_OF_REFUSAL:
                break
    except trio.BrokenResourceError as error:
        log.debug("%r: the rest of the refusal did not come: %s", stream, error)
    return body[:MOST_OF_REFUSAL]


async def _send(response: Response, body: Body) -> None:
    """Send a request's body. Whoever waits for the response learns what goes wrong with the stream."""
    try:
        if isinstance(body, (bytes, bytearray, memoryview)):
            await response.send_all(body, end=True)
            return
        with response.while_it_lasts():  # whatever the body waits for: nobody wants it after that
            if isinstance(body, AsyncGenerator):  # nobody else has it, to close it
                async with aclosing(body):
                    await _send_chunks(response, body)
            else:
                await _send_chunks(response, body)
    except Exception as error:
        if response.sends:
            log.info("%r: the request's body failed, the request is reset: %r", response, error)
            response.fail(error)
        else:
            log.debug("%r: the rest of the request was not sent: %s", response, error)


async def _send_chunks(response: Response, body: AsyncIterable[bytes | bytearray]) -> None:
    async for chunk in body:
        await response.send_all(chunk)
    await response.finish()


def _target(method: str, path: str) -> bytes:
    """The path, with its query, as it is sent. Raises ValueError for one that cannot be."""
    if not (path[:1] == "/" or (path == "*" and method == "OPTIONS")):
        raise ValueError(f"a path begins with / and has no host, which is the connection's; not {path!r}")
    if not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise ValueError(
            f"a path is ASCII, without blanks and #: percent-encode them, as urllib.parse.quote does: {path!r}"
        )
    return path.encode()


def _check_body(body: object) -> None:
    if not isinstance(body, (bytes, bytearray, memoryview, AsyncIterable)):
        hint = "encode text first" if isinstance(body, str) else f"not {type(body).__name__}"
        raise TypeError(f"a body is bytes, or an asynchronous iterable of bytes: {hint}")


def _with_length(method: str, headers: HeadersLike, size: int) -> HeadersLike:
    """The fields with a `content-length`, where it says something. Raises ValueError for one that is wrong."""
    pairs = as_pairs(headers)
    given = {int(value) for name, value in pairs if name == b"content-length" and value.isdigit()}
    if given - {size}:
        raise ValueError(f"the body has {size} bytes; its content-length is {given.pop()}")
    if given or not (size or method in BODIES):
        return headers
    return [*pairs, (b"content-length", b"%d" % size)]


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

    `ssl_context`: for `https`; by default, one that checks certificates by the system's authorities. `h2` is set on it
    as what ALPN offers. `stream`: any Trio stream to use rather than to connect; with `https`, a trio.SocketStream.
    Leaving the block gives up what was not read, and closes the connection.

    Raises ValueError for a URL that is none, OSError if the connection fails, ssl.SSLError (an OSError too) if TLS
    fails, and trio.BrokenResourceError if the server does not offer HTTP/2.
    """
    scheme, host, port, authority = _parts(url)
    config = config or HttpConfig()
    context = _context(scheme, ssl_context)
    transport = await _transport(host, port, context, config, stream)
    make = partial(make_session, client=True, config=config, kind=Response)
    async with run_session(transport, config, make) as session, looking_after({session}) as nursery:
        try:
            yield Client(session, nursery, scheme, authority)
        finally:
            engine = parts_of(session).engine
            for state in list(engine.unfinished()):
                engine.end_stream(state, ErrorCode.CANCEL)


def _parts(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
        raise ValueError(f"the URL begins with http:// or https:// and a host; this is {url!r}")
    authority = parts.netloc.rpartition("@")[2]
    if "@" in parts.netloc:
        raise ValueError("a user and password in the URL are not sent; use an `authorization` field")
    if not authority.isascii():
        authority = authority.encode("idna").decode()
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
    no_socket = "https needs a trio.SocketStream; wrap anything else in a trio.SSLStream and use http"
    return await transport_over(stream, context, config, server_hostname=host, no_socket=no_socket)

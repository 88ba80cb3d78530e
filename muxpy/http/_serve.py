"""Serving HTTP/2."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, cast

import trio

from muxpy._http_config import HttpConfig
from muxpy._running import prepared, run_session, secure, serve_connections
from muxpy.transport import StreamTransport

from ._exchange import Exchange, has_ended
from ._request import PORTS
from ._session import HttpSession, looking_after, make_session, prepare_tls, retire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Collection

    from muxpy.session import Stream

    from ._request import Request

    Handler = Callable[[Exchange], Awaitable[object]]
    Answer = Callable[[Stream], Awaitable[None]]

__all__ = ["serve", "serve_stream"]

log = logging.getLogger("muxpy.http")


async def serve(
    handler: Handler,
    port: int,
    *,
    host: str | bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    config: HttpConfig | None = None,
    authorities: Collection[str] | None = None,
    cancel_handlers: bool = False,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `port` for HTTP/2, and run `handler(exchange)` in a task of its own for each request, until `stop` is
    set or the caller is cancelled.

    With an `ssl_context` it speaks TLS, and offers `h2` by ALPN, which is set on the context; otherwise clients need to
    know that they may speak HTTP/2 (h2c by prior knowledge). `await nursery.start(serve, ...)` returns the listeners,
    as with trio.serve_tcp.

    A handler that raises is logged; its client gets 500, or a reset if the response had begun. So does one that returns
    without a response, or with fewer bytes of it than announced. One that returns before it has read all of a request
    has its client told to send no more of it.
    With `cancel_handlers`, a handler is cancelled when its client resets the stream or is gone: see
    `Session.serve_streams`.

    `authorities`: the hosts, with a port if it is not the scheme's own, that requests may be for; others are answered
    by 421 (Misdirected Request). Targets of CONNECT are left to the handler. None: any.

    Setting `stop` begins a graceful shutdown, in which no request is lost: each client is told to open no more streams
    (GOAWAY) and what it had begun is handled; see `serve_tcp_sessions`.
    """
    config = config or HttpConfig()
    prepare_tls(ssl_context)
    answer = _answering(handler, authorities)
    sessions: set[HttpSession] = set()

    async def serve_session(session: HttpSession) -> None:
        sessions.add(session)
        try:
            await session.serve_streams(
                _limited(session, config.max_requests, answer, nursery), cancel_handlers=cancel_handlers
            )
        except trio.BrokenResourceError:
            if session.end is None:
                raise
            # Otherwise the log has it already: the session says there how it ended.
        finally:
            sessions.discard(session)

    async with looking_after(sessions) as nursery:
        await serve_connections(
            serve_session,
            port,
            host=host,
            ssl_context=ssl_context,
            config=config,
            make=partial(make_session, client=False, config=config, kind=Exchange),
            retire=retire,
            stop=stop,
            task_status=task_status,
        )


async def serve_stream(
    handler: Handler,
    stream: trio.abc.Stream,
    *,
    ssl_context: ssl.SSLContext | None = None,
    config: HttpConfig | None = None,
    authorities: Collection[str] | None = None,
    cancel_handlers: bool = False,
) -> None:
    """Serve HTTP/2 on one connection, `stream`, which may be any Trio stream, until the connection ends; see `serve`.

    Raises SessionClosed if the connection ended with an error.
    """
    config = config or HttpConfig()
    if isinstance(stream, trio.SocketStream):
        prepare_tls(ssl_context)
        transport = await secure(stream, ssl_context, config, server_side=True)
    elif ssl_context is None:
        transport = prepared(StreamTransport(stream), config)
    else:
        raise TypeError("an ssl_context needs a trio.SocketStream; wrap anything else in a trio.SSLStream")
    make = partial(make_session, client=False, config=config, kind=Exchange)
    answer = _answering(handler, authorities)
    async with run_session(transport, config, make) as session, looking_after({session}) as nursery:
        await session.serve_streams(
            _limited(session, config.max_requests, answer, nursery), cancel_handlers=cancel_handlers
        )


def _answering(handler: Handler, authorities: Collection[str] | None) -> Answer:
    hosts = None if authorities is None else frozenset(map(str.lower, authorities))
    return cast("Answer", partial(_answer, handler, hosts))  # all streams of a server of HTTP are exchanges


def _limited(session: HttpSession, most: int | None, answer: Answer, nursery: trio.Nursery) -> Answer:
    """`answer`, which also has the client told that it needs another connection, after `most` requests on this one."""
    if most is None:
        return answer
    told = False

    async def count(stream: Stream) -> None:
        nonlocal told
        if session.requests >= most and not told:
            told = True
            nursery.start_soon(retire, session)
        await answer(stream)

    return count


async def _answer(handler: Handler, authorities: frozenset[str] | None, stream: Exchange) -> None:
    """Run the handler, and see to it that there is a response."""
    if authorities is not None and stream.request.path and _authority(stream.request) not in authorities:
        await stream.respond(421)
        return
    try:
        await handler(stream)
    except Exception:
        if not stream.answerable:
            raise
        log.exception("%r: handler failed, the answer is 500", stream)
        await stream.respond(500)
        return
    if has_ended(stream):
        return
    if stream.answerable:
        log.error("%r: the handler has returned without a response, the answer is 500", stream)
        await stream.respond(500)
    elif stream.lacking:
        log.error("%r: the handler has returned %d bytes too early, the stream is reset", stream, stream.lacking)


def _authority(request: Request) -> str:
    """As `authorities` have it: in lower case (RFC 3986, 3.2.2), and without the scheme's own port."""
    return request.authority.lower().removesuffix(f":{PORTS.get(request.scheme, '')}")

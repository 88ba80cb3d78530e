"""Serving HTTP/2."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, cast

import trio

from muxpy._http_config import Config as HttpConfig
from muxpy._running import Members, begun, serve_connections, transport_over
from muxpy.session import serve_alone

from ._exchange import Exchange, has_ended
from ._request import PORTS
from ._session import HttpSession, looking_after, make_session, prepare_tls, retire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Collection

    from muxpy.session import SessionGroup, Stream
    from muxpy.transport import Transport

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
    members: Members[HttpSession] = Members(retire)
    async with looking_after(members.sessions) as nursery:
        serving = _Serving(handler, config, authorities, nursery, cancel_handlers=cancel_handlers)

        async def run(transport: Transport, group: SessionGroup | None) -> None:
            session = await serving.session(transport, group)
            members.add(session)
            try:
                await serving.run(session)
            except trio.BrokenResourceError:
                if session.end is None:
                    raise
                # Otherwise the log has it already: the session says there how it ended.
            finally:
                members.remove(session)

        await serve_connections(
            run,
            port,
            host=host,
            ssl_context=ssl_context,
            config=config,
            members=members,
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
    prepare_tls(ssl_context)
    transport = await transport_over(stream, ssl_context, config, server_side=True)
    sessions: set[HttpSession] = set()
    async with looking_after(sessions) as nursery:
        serving = _Serving(handler, config, authorities, nursery, cancel_handlers=cancel_handlers)
        session = await serving.session(transport)
        sessions.add(session)
        await serving.run(session)


class _Serving:
    """What is done for each connection of a server."""

    def __init__(
        self,
        handler: Handler,
        config: HttpConfig,
        authorities: Collection[str] | None,
        nursery: trio.Nursery,
        *,
        cancel_handlers: bool,
    ) -> None:
        hosts = None if authorities is None else frozenset(map(str.lower, authorities))
        # All streams of a server of HTTP are exchanges.
        self._answer = cast("Answer", partial(_answer, handler, hosts))
        self._config = config
        self._nursery = nursery
        self._cancel_handlers = cancel_handlers

    async def session(self, transport: Transport, group: SessionGroup | None = None) -> HttpSession:
        make = partial(make_session, client=False, config=self._config, kind=Exchange)
        session, _ = await begun(transport, self._config, make, group)
        return session

    def run(self, session: HttpSession) -> Awaitable[None]:
        """Answer all requests, until the connection ends. Raises SessionClosed if that is by an error."""
        return serve_alone(session, self._limited(session), self._nursery, cancel_handlers=self._cancel_handlers)

    def _limited(self, session: HttpSession) -> Answer:
        """`_answer`, which also has the client told that it needs another connection, after `max_requests`."""
        answer, most = self._answer, self._config.max_requests
        if most is None:
            return answer
        told = False

        async def count(stream: Stream) -> None:
            nonlocal told
            if session.requests >= most and not told:
                told = True
                self._nursery.start_soon(retire, session)
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

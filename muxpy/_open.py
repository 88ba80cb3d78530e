"""Ways to get a session: over a Trio stream, to a TCP address, on a port to listen on.

The only file that names a protocol's core.
"""

from __future__ import annotations

import logging
import os
import select
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ._codes import ProtocolError, printable
from ._config import SessionConfig
from ._errors import only_lost, without_cancelled
from .ext import Heartbeat, by_stream_type
from .proto.muxado import Connection
from .session import Background, Engine, Session, SessionGroup, turns_of
from .trace import tap_for
from .transport import (
    LOGIN_BYTES,
    SocketTransport,
    StreamTransport,
    TlsTransport,
    Transport,
    bound_local_queue,
    peer_name,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from .ext import Extension

__all__ = ["open_session", "open_tcp_session", "serve_tcp_sessions"]

log = logging.getLogger("muxpy.serve")

MOST_WAITING: Final = 4096
"""Connections that a server still accepts when it stops: as many as the kernel's queue holds by default
(net.core.somaxconn)."""


@asynccontextmanager
async def open_session(
    transport: trio.abc.Stream,
    *,
    client: bool,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    config: SessionConfig | None = None,
    extensions: Iterable[Extension] | None = None,
    group: SessionGroup | None = None,
) -> AsyncIterator[Session]:
    """Open a session over `transport`, any Trio stream. The session owns the transport from now on, and closes it.

    One side must be the client, and the other one not. `extensions`: None means the heartbeat (keepalive), as the Go
    peer has it, and an empty list means none. Leaving the block normally calls `Session.aclose`, the graceful shutdown;
    leaving it by an exception or a cancellation calls `Session.kill`.

    With an `ssl_context`, `transport` must be a trio.SocketStream, and the session speaks TLS on it, which is faster
    than a trio.SSLStream. A client checks that the certificate is for `server_hostname`. Raises ssl.SSLError (an
    OSError) or trio.BrokenResourceError if the handshake fails; how long it may take is up to the caller.

    `group`: the SessionGroup that the session belongs to, from the handshake on, until `Session.admit` names another.
    """
    config = config or SessionConfig()
    if isinstance(transport, trio.SocketStream):
        ready = await _secure(
            transport, ssl_context, config, group, server_hostname=server_hostname, server_side=not client
        )
    elif ssl_context is None:
        ready = _prepared(_as_transport(transport), config)
    else:
        raise TypeError("an ssl_context needs a trio.SocketStream; wrap anything else in a trio.SSLStream")
    async with _run_session(ready, client, config, extensions, group) as session:
        yield session


@asynccontextmanager
async def open_tcp_session(
    host: str,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    config: SessionConfig | None = None,
    extensions: Iterable[Extension] | None = None,
) -> AsyncIterator[Session]:
    """Connect to `host` and `port`, with TLS if there is an `ssl_context`, and open a client session.

    The certificate must be for `server_hostname`, or for `host` if that is not given. Raises OSError if the connection
    fails, ssl.SSLError (an OSError too) if TLS fails, and TimeoutError (another OSError) after
    `config.handshake_timeout`. Otherwise it is like `open_session`.
    """
    config = config or SessionConfig()
    stream = await trio.open_tcp_stream(host, port)
    with _handshake_scope(config) as handshake:
        transport = await _secure(stream, ssl_context, config, server_hostname=server_hostname or host)
    if handshake.cancelled_caught:
        raise TimeoutError(f"no TLS handshake within {config.handshake_timeout:g} s")
    async with _run_session(transport, True, config, extensions) as session:
        yield session


async def serve_tcp_sessions(
    handler: Callable[[Session], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    config: SessionConfig | None = None,
    extensions: Callable[[], Iterable[Extension]] | None = None,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `port`, and run `handler(session)` in a task of its own for each connection, until `stop` is set or the
    caller is cancelled.

    The session is closed when its handler returns. An error in one session (a peer that vanishes, a handler that
    raises) is logged and does not affect the others. `extensions` is called for each session, to make its extensions.
    With `config.wants_login`, all sessions that are not admitted yet count as one `SessionGroup`.
    `await nursery.start(serve_tcp_sessions, ...)` returns the listeners, as with trio.serve_tcp.

    Setting `stop` begins a graceful shutdown. The server accepts the connections that wait to be accepted, stops
    listening, tells each peer to open no more streams (GOAWAY), and returns when the last handler has returned.
    `Session.serve_streams` and iteration end once the open streams have been handled. A stream that a peer opened
    before it knew of the shutdown is not refused, if the peer answers with its own `Session.go_away`, or learns of the
    shutdown within `config.linger_timeout`. The shutdown has no time limit of its own: the caller sets one with a
    cancel scope, and cancelling kills the sessions that are left.
    """
    config = config or SessionConfig()
    arriving = SessionGroup(config)  # handshakes are expensive, and anyone may begin any number: they take turns

    async def serve(stream: trio.SocketStream) -> None:
        peer = peer_name(stream.socket)
        try:
            with _handshake_scope(config) as handshake:
                transport = await _secure(stream, ssl_context, config, arriving, server_side=True)
            if handshake.cancelled_caught:
                log.info("session with %s: no TLS handshake within %g s", peer, config.handshake_timeout)
                return
            wanted = extensions() if extensions is not None else None
            group = arriving if config.wants_login else None
            async with _run_session(transport, False, config, wanted, group) as session:
                with sessions.member(session):
                    await handler(session)
        except Exception as error:
            if only_lost(error):
                log.info("session with %s: %s", peer, error)
            else:
                log.exception("session with %s: handler failed", peer)

    listeners = await trio.open_tcp_listeners(port, host=host)
    async with trio.open_nursery() as nursery:
        sessions = _Sessions(nursery)
        with trio.CancelScope() as listening:
            if stop is not None:
                nursery.start_soon(_end_listening, stop, listeners, listening)
            await trio.serve_listeners(serve, listeners, handler_nursery=nursery, task_status=task_status)
        sessions.retire()


async def _end_listening(stop: trio.Event, listeners: list[trio.SocketListener], listening: trio.CancelScope) -> None:
    await stop.wait()
    # Peers in the kernel's queue have a connection, and may have opened streams on it: closing the sockets would reset
    # them all. One is accepted in each pass. The number has a bound, or newcomers could keep the server from stopping.
    for _ in range(MOST_WAITING):
        if not any(_has_connection(listener.socket.fileno()) for listener in listeners):
            break
        await trio.lowlevel.checkpoint()
    listening.cancel()


def _has_connection(listener: int) -> bool:
    """Whether a connection waits to be accepted there."""
    if listener < 0:  # the program that started the server has closed it
        return False
    poll = select.poll()  # it needs no descriptor of its own, and takes descriptors of any number
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


class _Sessions:
    """The sessions of a server, which can be told to end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._members: set[Session] = set()
        self._retiring = False

    @contextmanager
    def member(self, session: Session) -> Iterator[None]:
        """Count `session` as one of them while the block runs."""
        self._members.add(session)
        try:
            if self._retiring:  # its connection was accepted before that, and its handshake has only now ended
                self._nursery.start_soon(_retire, session)
            yield
        finally:
            self._members.discard(session)

    def retire(self) -> None:
        """Have all sessions take no more streams, also those that have yet to begin."""
        self._retiring = True
        for session in self._members:
            self._nursery.start_soon(_retire, session)


async def _retire(session: Session) -> None:
    """Have the peer open no more streams, and accept those that it opens before it knows."""
    # A peer that has sent GOAWAY before cannot answer with one.
    answered = session.wait if session.going_away else session.wait_going_away
    session.go_away(final=False)
    with trio.move_on_after(session.config.linger_timeout):
        await answered()
    session.go_away()


def _handshake_scope(config: SessionConfig) -> trio.CancelScope:
    return trio.move_on_after(inf if config.handshake_timeout is None else config.handshake_timeout)


def _as_transport(stream: trio.abc.Stream) -> Transport:
    if isinstance(stream, trio.SocketStream) and hasattr(os, "writev"):
        return SocketTransport(stream)
    return StreamTransport(stream)


def _prepared(transport: Transport, config: SessionConfig) -> Transport:
    if config.wants_login:
        transport.allowance = LOGIN_BYTES
    return transport


async def _secure(
    stream: trio.SocketStream,
    context: ssl.SSLContext | None,
    config: SessionConfig,
    group: SessionGroup | None = None,
    *,
    server_hostname: str | None = None,
    server_side: bool = False,
) -> Transport:
    """A transport over `stream`, after the TLS handshake if there is a context. The sessions of `group` take turns at
    handshakes."""
    try:
        bound_local_queue(stream.socket)
        if context is None:
            return _prepared(_as_transport(stream), config)
        name = None if server_side else _plain_name(server_hostname)
        transport = TlsTransport(stream, context, server_hostname=name, server_side=server_side)
        _prepared(transport, config)
        if group is None:
            await transport.handshake()
        else:
            transport.turns = turns_of(group)
            with transport.turns.member():
                await transport.handshake()
            transport.turns = None
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, ProtocolError):
            raise trio.BrokenResourceError(error.reason) from error
        raise
    return transport


def _plain_name(host: str | None) -> str | None:
    """The host as certificates and TLS write it: without the dot at the end of a complete name (RFC 6066, section 3),
    and without the zone of an address, which has a meaning on this machine only."""
    return None if host is None else host.partition("%")[0].removesuffix(".")


@asynccontextmanager
async def _run_session(
    transport: Transport,
    client: bool,
    config: SessionConfig,
    extensions: Iterable[Extension] | None,
    group: SessionGroup | None = None,
) -> AsyncIterator[Session]:
    try:
        if config.tcp_user_timeout is not None:
            transport.set_user_timeout(config.tcp_user_timeout)
        wanted = by_stream_type([Heartbeat()] if extensions is None else extensions)
        session, background = _put_together(transport, client, config, wanted)
        if group is not None:
            background.join(group)
    except BaseException:  # such as an extension that cannot be registered: the transport is ours, so close it
        await trio.aclose_forcefully(transport)
        raise
    failure = broke_off = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(background.run)
            try:
                yield session
                await session.aclose()
            except BaseException as error:
                # Kept until the nursery is closed, which would wrap it in an ExceptionGroup: the caller gets it as it
                # was raised.
                failure = error
                session.kill()
    except BaseException as error:
        broke_off = error
    broke_in = without_cancelled(broke_off) if broke_off is not None else None
    _raise_first(broke_in, failure, broke_off, background.bug)


def _put_together(
    transport: Transport, client: bool, config: SessionConfig, extensions: dict[int, Extension]
) -> tuple[Session, Background]:
    """A session, and the tasks that run it."""
    peer = printable(str(transport.remote_address or id(transport)))
    name = f"<muxpy.Session {'client' if client else 'server'} {peer}>"
    clock = trio.lowlevel.current_clock().current_time  # trio.current_time() without looking up the run
    core = Connection(config, client=client, clock=clock, extension_types=extensions)
    tap = tap_for(name, config.trace, clock)
    engine = Engine(name, transport, core, config, clock, extension_types=extensions, tap=tap)
    background = Background(engine, tap)
    return Session(engine, background, extensions), background


def _raise_first(*errors: BaseException | None) -> None:
    """Raise the first error that is not None. The caller orders them: what broke into the background (a
    KeyboardInterrupt), what left the block, a cancellation from outside, a bug."""
    for error in errors:
        if error is not None:
            raise error

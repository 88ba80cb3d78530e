"""How sessions of any protocol run: over which transport, as a block of the program, and behind a listening port."""

from __future__ import annotations

import logging
import os
import select
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from ._codes import ProtocolError, printable
from ._errors import only_lost, raise_first, without_cancelled
from .session import Session, SessionGroup, turns_of
from .transport import (
    LOGIN_BYTES,
    SocketTransport,
    StreamTransport,
    TlsTransport,
    Transport,
    peer_name,
    prepare_local,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ._config import SessionConfig
    from .session import Background
    from .transport import Address

__all__ = [
    "Members",
    "begun",
    "connect_tcp",
    "engine_name",
    "prepared",
    "run_session",
    "secure",
    "serve_connections",
    "transport_over",
]

log = logging.getLogger("muxpy.serve")

S = TypeVar("S", bound=Session)

MOST_WAITING: Final = 4096
"""Connections that a server still accepts when it stops: as many as the kernel's queue holds by default
(net.core.somaxconn)."""


# ---- one session ----


@asynccontextmanager
async def run_session(
    transport: Transport,
    config: SessionConfig,
    make: Callable[[Transport], tuple[S, Background]],
    group: SessionGroup | None = None,
) -> AsyncIterator[S]:
    """Run what `make` makes over the transport while the block runs, and close it after that: see `open_session`."""
    session, background = await begun(transport, config, make, group)
    failure = broke_off = None
    try:
        async with trio.open_nursery() as nursery:
            background.start(nursery)
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
    # A KeyboardInterrupt in the background, what left the block, a cancellation from outside, a bug.
    raise_first(broke_in, failure, broke_off, background.bug)


async def begun(
    transport: Transport,
    config: SessionConfig,
    make: Callable[[Transport], tuple[S, Background]],
    group: SessionGroup | None = None,
) -> tuple[S, Background]:
    """What `make` makes over the transport, ready to run."""
    try:
        if config.tcp_user_timeout is not None:
            transport.set_user_timeout(config.tcp_user_timeout)
        session, background = make(transport)
        if group is not None:
            background.join(group)
    except BaseException:  # such as an extension that cannot be registered: the transport is ours, so close it
        await trio.aclose_forcefully(transport)
        raise
    return session, background


def engine_name(transport: Transport, *, client: bool) -> str:
    """How a session is called in the log."""
    peer = printable(str(transport.remote_address or id(transport)))
    return f"<muxpy.Session {'client' if client else 'server'} {peer}>"


# ---- transports ----


async def connect_tcp(
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    config: SessionConfig,
    server_hostname: str | None = None,
) -> Transport:
    """A transport to `host` and `port`, after the TLS handshake if there is a context: see `open_tcp_session`."""
    stream = await trio.open_tcp_stream(host, port)
    with _handshake_scope(config) as handshake:
        transport = await secure(stream, ssl_context, config, server_hostname=server_hostname or host)
    if handshake.cancelled_caught:
        raise TimeoutError(f"no TLS handshake within {config.handshake_timeout:g} s")
    return transport


def _handshake_scope(config: SessionConfig) -> trio.CancelScope:
    return trio.move_on_after(inf if config.handshake_timeout is None else config.handshake_timeout)


def _as_transport(stream: trio.abc.Stream) -> Transport:
    if isinstance(stream, trio.SocketStream) and hasattr(os, "writev"):
        return SocketTransport(stream)
    return StreamTransport(stream)


NO_SOCKET: Final = "an ssl_context needs a trio.SocketStream; wrap anything else in a trio.SSLStream"


async def transport_over(
    stream: trio.abc.Stream,
    context: ssl.SSLContext | None,
    config: SessionConfig,
    group: SessionGroup | None = None,
    *,
    server_hostname: str | None = None,
    server_side: bool = False,
    no_socket: str = NO_SOCKET,
) -> Transport:
    """A transport over any Trio stream, after the TLS handshake if there is a context: see `open_session`. Raises
    TypeError, which says `no_socket`, if there is a context and the stream is not a socket's."""
    if isinstance(stream, trio.SocketStream):
        return await secure(stream, context, config, group, server_hostname=server_hostname, server_side=server_side)
    if context is not None:
        raise TypeError(no_socket)
    return prepared(StreamTransport(stream), config)


def prepared(transport: Transport, config: SessionConfig) -> Transport:
    if config.wants_login:
        transport.allowance = LOGIN_BYTES
    return transport


async def secure(
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
        prepare_local(stream.socket)
        if context is None:
            return prepared(_as_transport(stream), config)
        name = None if server_side else _plain_name(server_hostname)
        transport = TlsTransport(stream, context, server_hostname=name, server_side=server_side)
        prepared(transport, config)
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


# ---- behind a port ----


async def serve_connections(
    run: Callable[[Transport, SessionGroup | None], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None,
    ssl_context: ssl.SSLContext | None,
    config: SessionConfig,
    members: Members[S],
    stop: trio.Event | None,
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    """See `serve_tcp_sessions`. `run` makes and runs one session, as one of `members`, in a task of its own."""
    arriving = SessionGroup(config)  # handshakes are expensive, and anyone may begin any number: they take turns

    async def shake_hands(stream: trio.SocketStream) -> Transport | None:
        peer = peer_name(stream.socket)
        try:
            with _handshake_scope(config):
                return await secure(stream, ssl_context, config, arriving, server_side=True)
            log.info("session with %s: no TLS handshake within %g s", peer, config.handshake_timeout)
        except Exception as error:
            _log_end(peer, error)
        return None

    async def serve(stream: trio.SocketStream) -> None:
        transport = await shake_hands(stream)
        if transport is not None:
            try:
                await run(transport, arriving if config.wants_login else None)
            except Exception as error:
                _log_end(transport.remote_address, error)

    listeners = await trio.open_tcp_listeners(port, host=host)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as listening:
            if stop is not None:
                nursery.start_soon(_end_listening, stop, listeners, listening)
            await trio.serve_listeners(serve, listeners, handler_nursery=nursery, task_status=task_status)
        members.retire(nursery)


def _log_end(peer: Address, error: Exception) -> None:
    """Say what has ended a session. To be called while the exception is handled."""
    if only_lost(error):
        log.info("session with %s: %s", peer, error)
    else:
        log.exception("session with %s: handler failed", peer)


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


class Members(Generic[S]):
    """The sessions of a server, which can be told to end: `retire` has one take no more streams."""

    def __init__(self, retire: Callable[[S], Awaitable[object]]) -> None:
        self.sessions: set[S] = set()
        self._retire = retire
        self._retiring: trio.Nursery | None = None  # set when all of them are to end

    def add(self, session: S) -> None:
        """One more begins."""
        self.sessions.add(session)
        if self._retiring is not None:  # its connection was accepted before, and its handshake has only now ended
            self._retiring.start_soon(self._retire, session)

    def remove(self, session: S) -> None:
        """One has ended."""
        self.sessions.discard(session)

    def retire(self, nursery: trio.Nursery) -> None:
        """Have all sessions take no more streams, also those that have yet to begin, by tasks in `nursery`."""
        self._retiring = nursery
        for session in self.sessions:
            nursery.start_soon(self._retire, session)

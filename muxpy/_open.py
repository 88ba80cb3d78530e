"""Ways to get a session of muxado: over a Trio stream, to a TCP address, on a port to listen on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from ._config import SessionConfig
from ._running import Members, connect_tcp, engine_name, run_session, serve_connections, transport_over
from .ext import Heartbeat, by_stream_type
from .proto.muxado import Connection
from .session import Background, Engine, Session
from .trace import MuxadoFrames, tap_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from .ext import Extension
    from .session import SessionGroup
    from .transport import Transport

__all__ = ["open_session", "open_tcp_session", "serve_tcp_sessions"]


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
    ready = await transport_over(
        transport, ssl_context, config, group, server_hostname=server_hostname, server_side=not client
    )
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
    transport = await connect_tcp(host, port, ssl_context, config, server_hostname)
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

    def make(transport: Transport) -> tuple[Session, Background]:
        wanted = extensions() if extensions is not None else None
        return _put_together(transport, client=False, config=config, extensions=wanted)

    members: Members[Session] = Members(_retire)

    async def run(transport: Transport, group: SessionGroup | None) -> None:
        async with run_session(transport, config, make, group) as session:
            members.add(session)
            try:
                await handler(session)
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


async def _retire(session: Session) -> None:
    """Have the peer open no more streams, and accept those that it opens before it knows."""
    # A peer that has sent GOAWAY before cannot answer with one.
    answered = session.wait if session.going_away else session.wait_going_away
    session.go_away(final=False)
    with trio.move_on_after(session.config.linger_timeout):
        await answered()
    session.go_away()


def _run_session(
    transport: Transport,
    client: bool,
    config: SessionConfig,
    extensions: Iterable[Extension] | None,
    group: SessionGroup | None = None,
) -> AbstractAsyncContextManager[Session]:
    make = partial(_put_together, client=client, config=config, extensions=extensions)
    return run_session(transport, config, make, group)


def _put_together(
    transport: Transport, *, client: bool, config: SessionConfig, extensions: Iterable[Extension] | None
) -> tuple[Session, Background]:
    """A session, and the tasks that run it."""
    wanted = by_stream_type([Heartbeat()] if extensions is None else extensions)
    name = engine_name(transport, client=client)
    clock = trio.lowlevel.current_clock().current_time  # trio.current_time() without looking up the run
    core = Connection(config, client=client, clock=clock, extension_types=wanted)
    tap = tap_for(name, config.trace, clock, MuxadoFrames)
    engine = Engine(name, transport, core, config, clock, extension_types=wanted, tap=tap)
    background = Background(engine, tap)
    return Session(engine, background, wanted), background

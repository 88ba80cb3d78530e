"""Two joined sessions over every kind of transport."""

from __future__ import annotations

import socket
import ssl
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

import trio
import trustme
from trio.testing import lockstep_stream_pair, memory_stream_pair

import muxpy
from muxpy.http import Response

from .inside import may_open
from .links import Channel, pipe_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

__all__ = [
    "IN_MEMORY",
    "KINDS",
    "REAL",
    "client_context",
    "server_context",
    "session_pair",
    "stream_pair",
    "transport_pair",
]

IN_MEMORY = ("memory", "lockstep", "pipe", "ssl_stream")
"""Kinds that need no kernel, so that Trio's autojump clock is safe with them."""
REAL = ("unix", "tcp", "tls", "ssl_stream_tcp")
"""Kinds over sockets."""
KINDS = (*IN_MEMORY, *REAL)

PIPE_SIZE = 32
WIDE_PIPE_SIZE = 1024


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_context() -> ssl.SSLContext:
    """A context with a certificate for 127.0.0.1 and localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@cache
def client_context() -> ssl.SSLContext:
    """A context that trusts it."""
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


async def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return client, await listener.accept()


def unix_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    one, two = socket.socketpair()
    return as_stream(one), as_stream(two)


def as_stream(one: socket.socket) -> trio.SocketStream:
    """Python's socket as a stream of Trio."""
    return trio.SocketStream(trio.socket.from_stdlib_socket(one))


async def transport_pair(kind: str) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Two joined Trio streams; for TLS through trio.SSLStream, which a session takes like any stream."""
    if kind == "memory":
        return memory_stream_pair()
    if kind == "lockstep":
        return lockstep_stream_pair()
    if kind == "pipe":
        return pipe_pair(Channel(PIPE_SIZE), Channel(PIPE_SIZE))
    if kind == "wide_pipe":
        return pipe_pair(Channel(WIDE_PIPE_SIZE), Channel(WIDE_PIPE_SIZE))
    if kind == "unix":
        return unix_pair()
    if kind == "tcp":
        return await tcp_pair()
    client: trio.abc.Stream
    server: trio.abc.Stream
    client, server = memory_stream_pair() if kind == "ssl_stream" else await tcp_pair()
    return (
        trio.SSLStream(client, client_context(), server_hostname="127.0.0.1"),
        trio.SSLStream(server, server_context(), server_side=True),
    )


@asynccontextmanager
async def session_pair(
    kind: str = "memory",
    *,
    client_config: muxpy.SessionConfig | None = None,
    server_config: muxpy.SessionConfig | None = None,
    client_extensions: Iterable[muxpy.Extension] | None = None,
    server_extensions: Iterable[muxpy.Extension] | None = None,
) -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    """A client session and the server session at its other end."""
    if kind == "tls":
        async with _tls_pair(client_config, server_config) as sessions:
            yield sessions
        return
    one, two = await transport_pair(kind)
    async with (
        muxpy.open_session(one, client=True, config=client_config, extensions=client_extensions) as client,
        muxpy.open_session(two, client=False, config=server_config, extensions=server_extensions) as server,
    ):
        yield client, server


@asynccontextmanager
async def _tls_pair(
    client_config: muxpy.SessionConfig | None, server_config: muxpy.SessionConfig | None
) -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    accepted: list[muxpy.Session] = []
    ready = trio.Event()

    async def handler(session: muxpy.Session) -> None:
        accepted.append(session)
        ready.set()
        await session.wait()

    async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        await muxpy.serve_tcp_sessions(
            handler, 0, host="127.0.0.1", ssl_context=server_context(), config=server_config, task_status=task_status
        )

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve)
        async with muxpy.open_tcp_session(
            "127.0.0.1", listener.socket.getsockname()[1], ssl_context=client_context(), config=client_config
        ) as client:
            await ready.wait()
            yield client, accepted[0]
        nursery.cancel_scope.cancel()


async def stream_pair(opener: muxpy.Session, acceptor: muxpy.Session) -> tuple[muxpy.Stream, muxpy.Stream]:
    """A new stream: the end that opened it and the one that accepted it. In protocols in which only one side opens
    streams it is that one, and the ends are those of these sessions all the same."""
    if may_open(acceptor) and not may_open(opener):
        far, near = await stream_pair(acceptor, opener)
        return near, far
    near = await opener.open_stream()
    far = await acceptor.accept_stream()
    if isinstance(near, Response):
        await near.started()  # a tunnel that is closed before is given up
    return near, far

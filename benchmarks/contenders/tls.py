"""Trio's own TLS, a connection for each stream."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from benchmarks.serving import serve

from ._base import HOST, Client, Contender, Ports, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["TrioSsl", "client_context", "server_context"]


class TrioSsl(Contender):
    def missing(self) -> str | None:
        return None

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        context = server_context()
        async with trio.open_nursery() as nursery:
            listening = partial(trio.serve_tcp, partial(_serve_connection, context), 0, host=HOST)
            task_status.started(report(await nursery.start(listening)))

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        context = client_context()

        async def open_stream() -> TlsStream:
            socket = await trio.open_tcp_stream(HOST, port)
            stream = TlsStream(socket, context, server_side=False)
            await stream.do_handshake()
            return stream

        yield Client(open_stream)


async def _serve_connection(context: ssl.SSLContext, socket: trio.SocketStream) -> None:
    async with TlsStream(socket, context, server_side=True) as stream:
        await serve(stream)


class TlsStream(trio.abc.HalfCloseableStream):
    """trio.SSLStream with a half-close, which it lacks and bulk needs.

    The socket's direction is ended instead, without a close_notify. That ends TLS, so the eight bytes of the count
    that come back afterwards are not encrypted.
    """

    def __init__(self, socket: trio.SocketStream, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._socket = socket
        self._tls = trio.SSLStream(
            socket, context, server_side=server_side, server_hostname=None, https_compatible=True
        )
        self._ended = False

    async def do_handshake(self) -> None:
        await self._tls.do_handshake()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await (self._socket if self._ended else self._tls).send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._ended:
            return await self._socket.receive_some(max_bytes)
        data = await self._tls.receive_some(max_bytes)
        self._ended = not data
        return data

    async def send_eof(self) -> None:
        await self._socket.send_eof()
        self._ended = True

    async def aclose(self) -> None:
        await self._socket.aclose()


def server_context() -> ssl.SSLContext:
    """A context with a key of this process alone."""
    import trustme  # here, so that only serving TLS needs it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(context)
    context.num_tickets = 0  # they would lie unread before the count
    return context


def client_context() -> ssl.SSLContext:
    """A context that accepts any certificate: the measurement begins after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

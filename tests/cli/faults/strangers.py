"""Who comes to the listening end without being a muxpy, or without behaving like one."""

from __future__ import annotations

import resource
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import trio

import muxpy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CLIENT_HELLO = bytes.fromhex("1603010200") + b"\x01\x00\x01\xfc\x03\x03"
"""Its beginning: a record of 512 bytes that never comes."""

DESCRIPTORS = 12_000
"""For some thousand connections, both ends of which may be in one process."""


@contextmanager
def many_descriptors() -> Iterator[None]:
    """Let this process, and those that it starts, open some thousand connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    if hard == resource.RLIM_INFINITY or hard >= DESCRIPTORS:
        soft = max(soft, DESCRIPTORS) if soft != resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def session_from(address: str, port: int) -> AsyncIterator[muxpy.Session]:
    """A session that comes from that address of this machine, before its greeting; killed at the end."""
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=address)
    async with muxpy.open_session(stream, client=True) as session:
        try:
            yield session
        finally:
            session.kill()


@contextmanager
def crowd() -> Iterator[list[trio.SocketStream]]:
    """A list for connections that are closed at the end, whatever happens."""
    streams: list[trio.SocketStream] = []
    try:
        yield streams
    finally:
        for stream in streams:
            stream.socket.close()


async def thrown(port: int, data: bytes) -> None:
    """Throw bytes at a port and wait until the connection has been closed there."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with suppress(trio.BrokenResourceError):  # closed at the first of them
            await stream.send_all(data)
        await closed_by_peer(stream)


async def closed_by_peer(stream: trio.SocketStream) -> None:
    """Read until the other end is gone, in whatever way."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass

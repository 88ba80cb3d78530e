"""What a session runs over: the whole interface to the network, and its implementation for any Trio stream.

A transport reads for one task and writes for one task at a time. `try_send` writes what it can without
waiting, so that a task with something to send need not wake another one to have it sent.
"""

import os
import ssl
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from muxpy.frame import Buffer
from muxpy.proto import Batch, too_much_before_login

from ._turns import Turns

__all__ = ["LOGIN_BYTES", "Address", "StreamTransport", "Transport", "addresses_of", "peer_name"]

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | None
"""A socket address as Python's socket module has it: host and port, with flow and scope for IPv6; the path of a Unix
socket, with a NUL before it if it is abstract; None where there is none."""

STREAM_READ = 65536
"""Bytes asked of a stream at once: four full frames."""

LOGIN_BYTES = 16 * 1024
"""Bytes that a peer may send before it is admitted, TLS included: client certificates take some thousands, a message
that says who it is some hundreds."""


class Transport(trio.abc.AsyncResource):
    """A full-duplex byte stream, as the session's reader and writer use it. Errors are OSError or trio's; a
    ProtocolError if the peer sends what it may not."""

    local_address: Address = None
    remote_address: Address = None
    tls: ssl.SSLObject | None = None
    """The TLS connection, for its certificates, cipher and version; None without TLS."""
    read_size = STREAM_READ
    """Bytes that one `receive` returns at most."""
    read_limit = STREAM_READ
    """The same, for now: the reader asks for less while a peer sends only tiny frames."""
    half_closeable = True
    """Whether `send_eof` does anything."""
    reads = 0
    """Receive calls to what lies below."""
    writes = 0
    """Send calls to what lies below."""
    allowance: int | None = None
    """Bytes that the peer may still send before it is admitted; None if it is, or need not be."""
    turns: Turns | None = None
    """Those of its group, with which it takes turns to receive."""

    @property
    def has_output(self) -> bool:
        """Whether it has something of its own to write, such as a TLS alert; an empty batch lets it."""
        return False

    def set_user_timeout(self, seconds: float) -> None:
        """Let the system end the connection if the peer does not take sent data for so long, where it can do that."""

    @property
    def most(self) -> int:
        """Bytes to ask for now. One more than a stranger may send tells that it sends too much."""
        return self.read_limit if self.allowance is None else min(self.read_limit, self.allowance + 1)

    def spend(self, count: int) -> None:
        """So many bytes came. Raises ProtocolError if that is more than a stranger may send."""
        if self.allowance is not None:
            self.allowance -= count
            if self.allowance < 0:
                raise too_much_before_login(f"{LOGIN_BYTES} bytes")

    async def take_turn(self) -> None:
        """Wait until no other session of the group has received in this pass of the scheduler."""
        if self.turns is not None:
            await self.turns.in_turn()

    @abstractmethod
    async def receive(self) -> Buffer:
        """Wait for bytes; b"" at the end. The buffer is valid until the next call of any transport's receive."""

    @abstractmethod
    def try_send(self, batch: Batch) -> bool:
        """Write as much of the batch as can be written at once, and drop it from the batch. True if that was all."""

    @abstractmethod
    async def send(self, batch: Batch) -> None:
        """Write the whole batch, waiting as needed."""

    @abstractmethod
    async def send_eof(self) -> None:
        """End the direction to the peer, where the transport can do that alone."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close in order, if not cancelled."""


class StreamTransport(Transport):
    """Over any trio.abc.Stream: TLS, in-memory pairs, a process's stdio. Each batch is one `send_all`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received: bytes | bytearray = b""  # while a turn is waited for: who is cancelled then loses nothing
        self.half_closeable = isinstance(stream, trio.abc.HalfCloseableStream)
        self.local_address, self.remote_address = addresses_of(stream)

    async def receive(self) -> Buffer:
        if not self._received:
            self.reads += 1
            self._received = await self._stream.receive_some(self.most)
            self.spend(len(self._received))
        await self.take_turn()
        data, self._received = self._received, b""
        return data

    def try_send(self, batch: Batch) -> bool:
        return not batch.chunks

    async def send(self, batch: Batch) -> None:
        # One buffer of our own: the stream may keep it while it waits, and a cancelled sender's must not be kept.
        data = b"".join(batch.chunks)
        batch.chunks.clear()
        self.writes += 1
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def addresses_of(stream: object) -> tuple[Address, Address]:
    """This end's address and the peer's, of what lies beneath TLS and two streams that were put together; None each
    where there is none."""
    if isinstance(stream, trio.SSLStream):
        return addresses_of(stream.transport_stream)
    if isinstance(stream, trio.StapledStream):
        found = addresses_of(stream.send_stream)
        return found if found != (None, None) else addresses_of(stream.receive_stream)
    if isinstance(stream, trio.SocketStream):
        return _address(stream.socket.getsockname), peer_name(stream.socket)
    # Such as a stream of another session.
    return getattr(stream, "local_address", None), getattr(stream, "remote_address", None)


def peer_name(socket: trio.socket.SocketType) -> Address:
    """The address of the other end; None if the connection is gone already."""
    return _address(socket.getpeername)


def _address(ask: Callable[[], Any]) -> Address:
    try:
        address: Address | bytes = ask()
    except OSError:
        return None
    return os.fsdecode(address) if isinstance(address, bytes) else address

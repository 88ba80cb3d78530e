"""What a session runs over: the whole interface to the network, and its implementation for any Trio stream.

A transport reads for one task and writes for one task at a time. `try_send` writes as much as it can without waiting,
so that a task with something to send need not wake another task for that.
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

__all__ = [
    "LOGIN_BYTES",
    "TRANSPORT_ERRORS",
    "Address",
    "Interrupted",
    "StreamTransport",
    "Transport",
    "addresses_of",
    "peer_name",
]

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | None
"""A socket address in the form of Python's socket module: host and port, with flow and scope for IPv6; the path of a
Unix socket, with a NUL before it if it is abstract; None where there is none."""

STREAM_READ = 65536
"""Bytes asked for in one read of a stream: four full frames."""

TRANSPORT_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a transport raises when it cannot go on, beside a ProtocolError."""

LOGIN_BYTES = 16 * 1024
"""Bytes that a peer may send before it is admitted, TLS included: client certificates take some thousands of bytes, and
an authentication message some hundreds."""


class Interrupted(Exception):
    """`Transport.interrupt` has ended the wait of `receive`. No byte is lost."""


class Transport(trio.abc.AsyncResource):
    """A full-duplex byte stream, as the session's reader and writer use it. It raises OSError and Trio's exceptions,
    and ProtocolError if the peer sends something that it may not."""

    local_address: Address = None
    remote_address: Address = None
    tls: ssl.SSLObject | None = None
    """The TLS connection, for its certificates, cipher and version; None without TLS."""
    read_size = STREAM_READ
    """The most bytes that one `receive` returns."""
    read_limit = STREAM_READ
    """The same limit for the next reads: the reader lowers it while a peer sends only tiny frames."""
    half_closeable = True
    """Whether `send_eof` does anything."""
    waiting = False
    """Whether the task that reads waits for bytes, so that another task may take its place by `interrupt`."""
    reads = 0
    """Receive calls to the socket or stream below."""
    writes = 0
    """Send calls to the socket or stream below."""
    allowance: int | None = None
    """Bytes that the peer may still send before it is admitted; None if it is admitted, or need not be."""
    turns: Turns | None = None
    """The turns of the session's group, in which it receives; None without a group."""

    @property
    def has_output(self) -> bool:
        """Whether the transport has something of its own to write, such as a TLS alert. Sending any batch, even an
        empty one, writes that too."""
        return False

    def set_user_timeout(self, seconds: float) -> None:
        """Have the system end the connection if the peer's TCP does not take sent data for so many seconds, where the
        system can do that."""

    @property
    def most(self) -> int:
        """Bytes to ask for now. For a stranger that is one more than it may send, to tell whether it sends too much."""
        return self.read_limit if self.allowance is None else min(self.read_limit, self.allowance + 1)

    def spend(self, count: int) -> None:
        """Note that `count` bytes came. Raises ProtocolError if that is more than a stranger may send."""
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
        """Wait for bytes; b"" at the end. The buffer is valid until the next call of any transport's receive. Raises
        Interrupted after `interrupt`, if this transport can be interrupted."""

    def interrupt(self) -> None:
        """Have the task that is in `receive` raise Interrupted as soon as it runs, whatever it waits for there."""

    @abstractmethod
    def try_send(self, batch: Batch) -> bool:
        """Write as much of the batch as goes without waiting, and drop that from the batch. True if that was all."""

    def try_write(self, frame: bytes) -> int:
        """Write as much of a lone frame as goes without waiting, when no batch is being written. Returns how many bytes
        went; 0 also where there is no shorter way than a batch."""
        return 0

    @abstractmethod
    async def send(self, batch: Batch) -> None:
        """Write the whole batch, waiting as needed."""

    @abstractmethod
    async def send_eof(self) -> None:
        """End the direction to the peer, where the transport can do that alone."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close in order; if cancelled, close immediately."""


class StreamTransport(Transport):
    """Over any trio.abc.Stream: TLS, in-memory pairs, a process's stdio. Each batch is one `send_all`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received: bytes | bytearray = b""  # kept while it waits for a turn: a cancellation then loses nothing
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
        # Copied into one buffer: the stream may keep that while it waits, but must not keep a cancelled sender's.
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
    """This end's address and the peer's, of the stream beneath TLS or of two stapled streams; None for each that does
    not exist."""
    if isinstance(stream, trio.SSLStream):
        return addresses_of(stream.transport_stream)
    if isinstance(stream, trio.StapledStream):
        found = addresses_of(stream.send_stream)
        return found if found != (None, None) else addresses_of(stream.receive_stream)
    if isinstance(stream, trio.SocketStream):
        return _address(stream.socket.getsockname), peer_name(stream.socket)
    # For example a stream of another session.
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

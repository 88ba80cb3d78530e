"""The transport for plain sockets, which is also the base of the one for TLS.

Trio's socket methods run a checkpoint for every call. This transport tries the system call first and waits only when
the kernel says so, which saves a pass through the scheduler for each read and write. It uses `os.readv` and `os.writev`
on the descriptor: one call carries many frames, and received bytes go to a buffer that is reused.
"""

import os
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_RCVBUF, SOL_SOCKET
from typing import Final

import trio

from muxpy.proto import Batch

from ._base import Interrupted, Transport, addresses_of, peer_name
from ._readiness import Readiness

__all__ = ["READ_SIZE", "SocketTransport", "do_not_pace", "prepare_local"]

READ_SIZE: Final = 512 * 1024
"""Bytes in one read: thousands of small frames, or 32 full ones, for one system call and one pass of the scheduler. It
is about what the kernel keeps for a reader on the same host (LOCAL_QUEUE)."""

KEEP: Final = 4 * 1024 * 1024
"""Freeing a block of this size once makes glibc keep up to twice as much freed memory (mallopt(3), M_TRIM_THRESHOLD).
Before that, glibc gives anything over 128 KiB back to the system, and each page costs a fault when it is needed again:
measured with bulk data, 200,000 faults a second and a tenth of the time."""

LOCAL_QUEUE: Final = 500_000
"""About how many bytes the kernel may keep for a reader on the same host: see `prepare_local`."""

TCP_CONGESTION: Final[int | None] = getattr(socket, "TCP_CONGESTION", None)
"""The option's number, on systems that let a socket choose its congestion control (Linux, FreeBSD)."""

PACED: Final = b"bbr"
UNPACED: Final = b"reno"
"""Every Linux has it, and any process may choose it."""

TCP_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
"""The option's number, on systems that have it (Linux, RFC 5482)."""

LONGEST: Final = 2**31 - 1
"""The most milliseconds that the option takes: 24 days."""

MAX_CHUNKS: Final = 512
"""Buffers handed to one writev. Linux takes at most 1,024."""

JOIN_BELOW: Final = 2048
"""Bytes of the average chunk below which a batch is joined into one buffer: cheaper than hundreds of chunks for the
kernel."""

# A read buffer is in use only from a read until the dispatch of its bytes returns, and there is no checkpoint between.
# So all sessions of one Trio run share one buffer: ten thousand sessions do not need 2.5 GB.
_read_buffer: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("muxpy read buffer")


def _shared_buffer() -> memoryview:
    try:
        return _read_buffer.get()
    except LookupError:
        buffer = memoryview(bytearray(READ_SIZE))
        bytearray(KEEP)  # which is freed immediately
        _read_buffer.set(buffer)
        return buffer


class SocketTransport(Transport):
    """Over a TCP or Unix socket."""

    read_size = READ_SIZE

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = stream.socket
        self._fileno = stream.socket.fileno
        self._fd = self._fileno()
        self._buffer = _shared_buffer()
        self._readiness = Readiness.current()
        self._filled = False  # by the last read
        self._interrupts = 0
        self.read_limit = READ_SIZE
        self.local_address, self.remote_address = addresses_of(stream)

    def set_user_timeout(self, seconds: float) -> None:
        if TCP_USER_TIMEOUT is not None and self._socket.family in (AF_INET, AF_INET6):
            with suppress(OSError):  # the connection is gone already: the first read will say why
                self._socket.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, round(min(1000 * seconds, LONGEST)))

    async def receive(self) -> memoryview:
        while True:
            before = self._interrupts
            if self._fileno() < 0:
                raise _closed()
            # It waits first, since most reads empty the socket. After a read that filled the buffer there is more data,
            # and asking Trio's poller would cost a fifth of the read. Either way the other tasks get their turn.
            if self._filled:
                await trio.lowlevel.checkpoint()
            else:
                self.waiting = True
                try:
                    await self._readiness.wait_readable(self._fd)
                except trio.ClosedResourceError:
                    if self._interrupts == before:
                        raise
                finally:
                    if self._interrupts == before:  # otherwise another task may wait by now
                        self.waiting = False
            if self.turns is not None and self._interrupts == before:
                await self.take_turn()
            # Also if it was woken by bytes, but has not run: another task may read by now, and would wait for those.
            if self._interrupts != before:
                raise Interrupted
            if (count := self._read()) is not None:
                return self._buffer[:count]

    def _read(self) -> int | None:
        """Read into the buffer. Returns how many bytes, 0 at the end; None if there is nothing to read."""
        if self._fileno() < 0:
            raise _closed()
        self.reads += 1
        limit = self.read_limit if self.allowance is None else self.most
        try:
            count = os.readv(self._fd, [self._buffer if limit == READ_SIZE else self._buffer[:limit]])
        except BlockingIOError:
            self._filled = False
            return None
        self._filled = count == limit
        if self.allowance is not None:
            self.spend(count)
        return count

    def interrupt(self) -> None:
        self._interrupts += 1
        # If it was closed, the waiting task is woken already, and the number may be another file's.
        if self.waiting and self._fileno() >= 0:
            self._readiness.interrupt(self._fd)
        self.waiting = False

    def try_send(self, batch: Batch) -> bool:
        chunks = batch.chunks
        if 2 < len(chunks) > batch.size // JOIN_BELOW:
            chunks[:] = [b"".join(chunks)]
        while chunks:
            if self._fileno() < 0:
                raise _closed()
            self.writes += 1
            try:
                count = os.writev(self._fd, chunks if len(chunks) <= MAX_CHUNKS else chunks[:MAX_CHUNKS])
            except BlockingIOError:
                return False
            batch.advance(count)
        return True

    def try_write(self, frame: bytes) -> int:
        if self._fileno() < 0:
            raise _closed()
        self.writes += 1
        try:
            return os.write(self._fd, frame)
        except BlockingIOError:
            return 0

    async def send(self, batch: Batch) -> None:
        while not self.try_send(batch):
            with suppress(trio.ClosedResourceError):  # `interrupt` wakes this too; try_send sees if it was closed
                await trio.lowlevel.wait_writable(self._socket)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _closed() -> trio.ClosedResourceError:
    """For a descriptor below 0: once the socket is closed, the number may belong to another file."""
    return trio.ClosedResourceError("the socket was closed")


def prepare_local(socket: trio.socket.SocketType) -> None:
    """Between two processes of one host, there is no link to spare: neither a long queue nor pacing helps
    (`do_not_pace`).

    By default, the kernel lets six megabytes wait for a busy reader. Over a distance that keeps the link full. On one
    host it only adds delay (bufferbloat): each small message waits behind all of it, and the bytes have left the cache
    when they are read. Measured with 8 bulk streams: an echo beside them has a p99 of 0.8 ms instead of 1.7 ms, and
    bulk itself is a twentieth faster.
    """
    peer = peer_name(socket)
    if socket.family not in (AF_INET, AF_INET6) or not isinstance(peer, tuple) or not _is_loopback(peer[0]):
        return
    if _largest_receive_buffer() >= LOCAL_QUEUE:  # otherwise the kernel would allow much less, which is too little
        socket.setsockopt(SOL_SOCKET, SO_RCVBUF, LOCAL_QUEUE)
    do_not_pace(socket)


def do_not_pace(one: socket.socket | trio.socket.SocketType) -> None:
    """For a connection between two processes of one host, or a socket that listens for such.

    Where BBR is the system's congestion control, the kernel sends by a timer, as fast as it has seen the reader read.
    On one host that holds a fast sender up, and the timers cost as much as all the Python: measured, bulk of 8 streams
    goes half as fast again without.
    """
    if TCP_CONGESTION is not None:
        with suppress(OSError):  # then it is only slower
            if one.getsockopt(IPPROTO_TCP, TCP_CONGESTION, 16).startswith(PACED):
                one.setsockopt(IPPROTO_TCP, TCP_CONGESTION, UNPACED)


def _is_loopback(host: str) -> bool:
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _largest_receive_buffer() -> int:
    """The largest receive buffer that a program may ask for, in bytes; 0 where that is not known."""
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return 0

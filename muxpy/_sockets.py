"""Transports for sockets: plain, and with TLS.

Trio's socket methods run a checkpoint for every call. These try the system call first and wait only when the
kernel says so, which saves a pass through the scheduler for each read and write. They use `os.readv` and
`os.writev` on the descriptor: one call carries many frames, and bytes land in a buffer that is reused.
"""

import os
import socket
import ssl
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_RCVBUF, SOL_SOCKET
from typing import Final

import trio

from ._transport import Address, Transport
from .frame import HEADER_SIZE, Buffer, looks_like, looks_like_muxado
from .proto import Batch

__all__ = ["SocketTransport", "TlsTransport", "bound_local_queue", "peer_name"]

READ_SIZE: Final = 256 * 1024
"""Bytes read at once: hundreds of small frames, or sixteen full ones, for one system call."""

KEEP: Final = 4 * 1024 * 1024
"""Freeing a block of this size once makes glibc keep freed memory up to twice as much (mallopt(3), M_TRIM_THRESHOLD).
As it starts, it gives back what is over 128 KiB, and each page costs a fault when it is needed again: measured in bulk,
200,000 a second and a tenth of the time."""

LOCAL_QUEUE: Final = 500_000
"""Bytes that the kernel may keep for a reader on the same host, about: see `bound_local_queue`."""

TCP_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
"""The option's number, on systems that have it (Linux, RFC 5482)."""

LONGEST: Final = 2**31 - 1
"""Milliseconds that it takes at most: 24 days."""

MAX_CHUNKS: Final = 512
"""Buffers handed to one writev. Linux takes at most 1,024."""

JOIN_BELOW: Final = 2048
"""Pieces that are smaller on average are joined into one buffer: cheaper than handing the kernel hundreds."""

MAX_TLS_ANSWERS: Final = 64 * 1024
"""Bytes that TLS itself may have to say (to key updates, say) before the peer counts as one that only asks."""

# A read buffer is only in use between a read and the return of the dispatch, without a checkpoint between, so all
# sessions of one Trio run share it: ten thousand sessions do not need ten thousand buffers.
_read_buffer: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("muxpy read buffer")


def _shared_buffer() -> memoryview:
    try:
        return _read_buffer.get()
    except LookupError:
        buffer = memoryview(bytearray(READ_SIZE))
        bytearray(KEEP)  # and freed again
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
        self._filled = False  # by the last read
        self.read_limit = READ_SIZE
        self.local_address = stream.socket.getsockname()
        self.remote_address = peer_name(stream.socket)

    def set_user_timeout(self, seconds: float) -> None:
        if TCP_USER_TIMEOUT is not None and self._socket.family in (AF_INET, AF_INET6):
            with suppress(OSError):  # of a connection that is gone already: the first read will say why
                self._socket.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, round(min(1000 * seconds, LONGEST)))

    async def receive(self) -> Buffer:
        return self._buffer[: await self._read()]

    async def _read(self) -> int:
        """Fill the shared buffer with what is there; how many bytes, 0 at the end."""
        while True:
            # Waiting first, since most reads empty the socket. After one that filled the buffer there is more, and
            # asking Trio's poller would cost a fifth of the read. Either way the other tasks get their turn.
            if self._filled:
                await trio.lowlevel.checkpoint()
            else:
                self._check_open()
                await trio.lowlevel.wait_readable(self._fd)
            self._check_open()
            self.reads += 1
            limit = self.read_limit
            try:
                count = os.readv(self._fd, [self._buffer if limit == READ_SIZE else self._buffer[:limit]])
            except BlockingIOError:
                self._filled = False
            else:
                self._filled = count == limit
                return count

    def try_send(self, batch: Batch) -> bool:
        chunks = batch.chunks
        if 2 < len(chunks) > batch.size // JOIN_BELOW:
            chunks[:] = [b"".join(chunks)]
        while chunks:
            self._check_open()
            self.writes += 1
            try:
                batch.advance(os.writev(self._fd, chunks if len(chunks) <= MAX_CHUNKS else chunks[:MAX_CHUNKS]))
            except BlockingIOError:
                return False
        return True

    async def send(self, batch: Batch) -> None:
        while not self.try_send(batch):
            await trio.lowlevel.wait_writable(self._socket)  # try_send has seen that the socket is open

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _check_open(self) -> None:
        # The descriptor's number may belong to another file once the socket is closed.
        if self._fileno() < 0:
            raise trio.ClosedResourceError("the socket was closed")


def peer_name(socket: trio.socket.SocketType) -> Address:
    """The address of the other end; None if the connection is gone already."""
    try:
        return socket.getpeername()
    except OSError:
        return None


def bound_local_queue(socket: trio.socket.SocketType) -> None:
    """Between two processes of one host, let no more wait in the kernel than keeps the reader busy.

    Left alone, the kernel lets six megabytes wait for a busy reader. Over a distance that is what keeps the link full;
    here each small message waits for all of it, and the bytes have left the cache when they are read. Measured with 8
    bulk streams: 0.8 instead of 1.7 ms for an echo beside them (99 of 100), and bulk itself a twentieth faster.
    """
    peer = peer_name(socket)
    if socket.family not in (AF_INET, AF_INET6) or peer is None or not _is_loopback(peer[0]):
        return
    if _largest_receive_buffer() >= LOCAL_QUEUE:  # else the kernel would take much less, and that is too little
        socket.setsockopt(SOL_SOCKET, SO_RCVBUF, LOCAL_QUEUE)


def _is_loopback(host: str) -> bool:
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _largest_receive_buffer() -> int:
    """What a program may ask for; 0 where that is not known."""
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return 0


class TlsTransport(SocketTransport):
    """Over a socket with TLS, through OpenSSL's memory buffers.

    trio.SSLStream hands out one record of 16 KiB a call with a lock around it. Here one read of the socket is
    decrypted record by record into one buffer, and a whole batch is encrypted before it is sent.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        super().__init__(stream)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._broken: ssl.SSLError | None = None  # nothing more can be decrypted
        self._opening = b""  # the first bytes of the handshake
        self._ciphertext = Batch([], [], 0)  # encrypted, not yet written

    async def handshake(self) -> None:
        """Agree on keys and check certificates. Raises ssl.SSLError, with the reason."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._read_ciphertext()
            except ssl.SSLError as error:
                with suppress(OSError):
                    await self._flush()  # the alert that tells the peer why
                self._put_in_words(error)
                raise
            else:
                await self._flush()
                return

    def _put_in_words(self, error: ssl.SSLError) -> None:
        """Have the handshake's error say what the peer speaks instead of TLS, if that is known."""
        stranger = "plain muxado" if looks_like_muxado(self._opening) else looks_like(self._opening)
        if stranger not in (None, "TLS"):
            error.strerror = error.reason = f"this looks like {stranger}, not TLS"

    @property
    def has_output(self) -> bool:
        return bool(self._outgoing.pending)

    async def receive(self) -> Buffer:
        while True:
            plain = self._decrypt()
            if self._outgoing.pending > MAX_TLS_ANSWERS:
                raise trio.BrokenResourceError("the peer asks for more TLS answers than it reads")
            if plain is not None:
                return plain
            await self._read_ciphertext()

    async def _read_ciphertext(self) -> None:
        count = await self._read()
        if count:
            if not self._opening:
                self._opening = bytes(self._buffer[: min(count, HEADER_SIZE)])
            self._incoming.write(self._buffer[:count])
        else:
            self._incoming.write_eof()

    def _decrypt(self) -> Buffer | None:
        """All records that are complete, up to the size of the buffer; None if there are none."""
        # What is decrypted goes into the shared buffer, whose ciphertext has been taken into the BIO.
        size = 0
        while size < READ_SIZE and self._broken is None:
            try:
                count: int = self._tls.read(READ_SIZE - size, self._buffer[size:])  # type: ignore[assignment]
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:  # close_notify
                return self._buffer[:size]
            except ssl.SSLError as error:
                self._broken = error
                break
            if not count:
                return self._buffer[:size]
            size += count
        if size:  # what was right before an error counts
            return self._buffer[:size]
        if isinstance(self._broken, ssl.SSLEOFError):
            raise trio.BrokenResourceError("the connection ended without TLS close_notify") from None
        if self._broken is not None:
            raise self._broken
        return None

    def try_send(self, batch: Batch) -> bool:
        if batch.chunks:
            self._tls.write(b"".join(batch.chunks))  # joined, or each header would get a record of its own
            batch.chunks.clear()
        if self._outgoing.pending:
            self._ciphertext.add(self._outgoing.read())
        return super().try_send(self._ciphertext)

    async def _flush(self) -> None:
        await self.send(Batch([], [], 0))

    async def send_eof(self) -> None:
        """Send close_notify: the end of our direction, which TLS 1.3 lets stand alone."""
        with suppress(ssl.SSLError):  # it also waits for the peer's; ours is in the buffer
            self._tls.unwrap()
        await self._flush()

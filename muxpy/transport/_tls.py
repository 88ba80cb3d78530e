"""A transport for sockets with TLS, through OpenSSL's memory buffers.

trio.SSLStream returns one record of at most 16 KiB for each call, and takes a lock for it. Here one read of the socket
is decrypted record by record into one buffer, and a whole batch is encrypted before it is sent. One direction can be
ended alone, and the certificate is there before the session's first byte, for pinning.
"""

import ssl
from contextlib import suppress
from typing import Final

import trio

from muxpy._codes import ErrorCode, ProtocolError
from muxpy.frame.muxado import HEADER_SIZE, looks_like, looks_like_muxado
from muxpy.proto import Batch

from ._base import Interrupted
from ._socket import READ_SIZE, SocketTransport

__all__ = ["RecordCutter", "TlsTransport"]

MAX_TLS_ANSWERS: Final = 64 * 1024
"""Bytes of TLS's own answers (for example to key updates) that may wait. If there are more, the peer asks and does not
read, and the session ends."""

RECORDS_A_TURN: Final = 32
"""Records that are decrypted before other tasks get their turn. Key updates, the most expensive records, take some 30
microseconds each, so a turn is a millisecond; one-byte records are a tenth of that. OpenSSL itself gives up after 32
records in a row without payload, and says less about it."""

CIPHERTEXT_READ: Final = 256 * 1024
"""Bytes in one read. They have 20 records of bulk data, since a write of 64 KiB is four full records, and a fifth for
the headers of its frames. With more than a turn has room for, each read would take two turns and one more copy."""

MAX_USELESS: Final = 16
"""Records in a row without payload: more would only take time. An honest peer sends two session tickets after the
handshake, and rarely a key update. Go's crypto/tls has the same limit."""

RECORD_HEADER: Final = 5
"""Bytes: type, version, length (RFC 8446, 5.1)."""


class RecordCutter:
    """Tells where TLS records begin, wherever reads have cut the bytes.

    OpenSSL gets only a few records at a time. Given a whole read of key updates, it would work through all ten thousand
    in one call, and return nothing. Finding where records begin takes no key: the headers are plain text.
    """

    __slots__ = ("_header", "_left", "started")

    def __init__(self) -> None:
        self._header = b""  # the begin of a record's header, if the bytes so far end in one
        self._left = 0  # bytes of the last record that are still to come
        self.started = 0
        """Records that have begun in the bytes so far."""

    def cut(self, data: memoryview, most: int) -> int:
        """How many bytes of `data` hold the rest of the record before, and at most `most` records that begin here."""
        end = len(data)
        pos = self._left
        last = self.started + most
        if self._header:
            pos = self._finish_header(data)
        while pos < end:
            if self.started == last:
                self._left = 0
                return pos
            self.started += 1
            if end - pos < RECORD_HEADER:
                self._header = bytes(data[pos:])
                self._left = 0
                return end
            pos += RECORD_HEADER + (data[pos + 3] << 8 | data[pos + 4])
        self._left = pos - end
        return end

    def _finish_header(self, data: memoryview) -> int:
        missing = RECORD_HEADER - len(self._header)
        self._header += bytes(data[:missing])
        if len(self._header) < RECORD_HEADER:
            return len(data)
        size = self._header[3] << 8 | self._header[4]
        self._header = b""
        return missing + size


class TlsTransport(SocketTransport):
    """Over a socket with TLS."""

    read_size = CIPHERTEXT_READ

    def __init__(
        self,
        stream: trio.SocketStream,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        super().__init__(stream)
        self.read_limit = CIPHERTEXT_READ
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self.records = RecordCutter()
        self._rest = memoryview(b"")  # ciphertext that waits for the next turn
        self._useless = 0  # records in a row that brought no payload
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
                self._useless = 0
                return

    def _put_in_words(self, error: ssl.SSLError) -> None:
        """Have the handshake's error say which protocol the peer speaks instead of TLS, if that is known."""
        other = "plain muxado" if looks_like_muxado(self._opening) else looks_like(self._opening)
        if other not in (None, "TLS"):
            error.strerror = error.reason = f"this looks like {other}, not TLS"

    @property
    def has_output(self) -> bool:
        return bool(self._outgoing.pending)

    async def receive(self) -> memoryview:
        while True:
            plain = self._decrypt()
            if self._outgoing.pending > MAX_TLS_ANSWERS:
                raise trio.BrokenResourceError("the peer asks for more TLS answers than it reads")
            if plain is not None:
                self._useless = 0
                return plain
            if self._useless > MAX_USELESS:
                reason = f"the peer sends TLS records without data, more than {MAX_USELESS} in a row"
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)
            await self._read_ciphertext()

    async def _read_ciphertext(self) -> None:
        """Give OpenSSL as many records as a turn has room for: see RecordCutter."""
        if self._rest:
            before = self._interrupts
            await trio.lowlevel.checkpoint()
            await self.take_turn()
            if self._interrupts != before:
                raise Interrupted
            self._rest = self._rest[self._feed(self._rest) :]
            return
        data = await super().receive()
        if not data:
            self._incoming.write_eof()
            return
        if not self._opening:
            self._opening = bytes(data[:HEADER_SIZE])
        taken = self._feed(data)
        if taken < len(data):
            self._rest = memoryview(bytes(data[taken:]))  # others will use the buffer

    def _feed(self, data: memoryview) -> int:
        records = self.records
        before = records.started
        taken = records.cut(data, RECORDS_A_TURN)
        self._incoming.write(data[:taken])
        self._useless += records.started - before
        return taken

    def _decrypt(self) -> memoryview | None:
        """All records that are complete, up to the size of the buffer; None if there are none."""
        # Plaintext goes into the shared buffer: the ciphertext that was there has been copied to OpenSSL's own buffer.
        size = 0
        incoming, tls = self._incoming, self._tls
        # Asked first, since a read that finds nothing costs an exception, and that is more than a small record costs.
        while size < READ_SIZE and self._broken is None and (incoming.pending or tls.pending() or incoming.eof):
            try:
                count: int = tls.read(READ_SIZE - size, self._buffer[size:])  # type: ignore[assignment]
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                count = 0
            except ssl.SSLError as error:
                self._broken = error
                break
            if not count:  # close_notify
                incoming.write_eof()  # so that the next call finds the end too
                return self._buffer[:size]
            size += count
        if size:  # data before an error still counts
            return self._buffer[:size]
        if isinstance(self._broken, ssl.SSLEOFError):
            raise trio.BrokenResourceError("the connection ended without TLS close_notify") from None
        if self._broken is not None:
            raise self._broken
        return None

    def try_send(self, batch: Batch) -> bool:
        if batch.chunks:
            chunks = batch.chunks  # joined, since otherwise each header would be a record of its own
            self._tls.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
            chunks.clear()
        if self._outgoing.pending:
            self._ciphertext.add(self._outgoing.read())
        return super().try_send(self._ciphertext)

    def try_write(self, frame: bytes) -> int:
        return 0  # its ciphertext must be kept if it does not go as a whole: that is what a batch is for

    async def _flush(self) -> None:
        await self.send(Batch([], [], 0))

    async def send_eof(self) -> None:
        """Send close_notify, the end of our direction. In TLS 1.3 the other direction may go on (RFC 8446, 6.1). The
        socket's direction ends with it: some peers wait for that, and would hold up a lingering close."""
        with suppress(ssl.SSLError):  # `unwrap` also waits for the peer's; ours is in the buffer by then
            self._tls.unwrap()
        await self._flush()
        await super().send_eof()

"""A TLS 1.3 client that makes its records itself: key updates, empty records, records of one byte.

The handshake is OpenSSL's; its key log has the secret from which the keys of the records follow (RFC 8446, 7.1 to 7.3).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .pairs import client_context

if TYPE_CHECKING:
    from pathlib import Path

    import trio

__all__ = ["RecordPeer"]

APPLICATION_DATA: Final = 23
HANDSHAKE: Final = 22
KEY_UPDATE: Final = b"\x18\x00\x00\x01\x00"  # that does not ask for one in return
TAG_SIZE: Final = 16


class RecordPeer:
    """The client's end of a connection."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, keylog: Path) -> None:
        self.stream = stream
        self._keylog = keylog
        self._secret = b""
        self._hash: hashes.HashAlgorithm = hashes.SHA256()

    async def handshake(self) -> None:
        """Agree on keys."""
        context = client_context.__wrapped__()  # one of its own: the key log stays with a context
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.keylog_filename = str(self._keylog)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self.stream.send_all(outgoing.read())
                incoming.write(await self.stream.receive_some(65536))
        await self.stream.send_all(outgoing.read())
        secrets = dict(line.split()[::2] for line in self._keylog.read_text().splitlines() if line[:1] != "#")
        cipher = tls.cipher()
        assert cipher is not None
        name = cipher[0]
        self._hash = hashes.SHA384() if name.endswith("384") else hashes.SHA256()
        self._aead = ChaCha20Poly1305 if "CHACHA20" in name else AESGCM
        self._key_size = 16 if "AES_128" in name else 32
        self._use(bytes.fromhex(secrets["CLIENT_TRAFFIC_SECRET_0"]))

    def record(self, content: bytes, kind: int = APPLICATION_DATA) -> bytes:
        """One record."""
        inner = content + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + TAG_SIZE).to_bytes(2, "big")
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._key.encrypt(nonce, inner, header)

    def key_update(self) -> bytes:
        """A record that changes the keys, and carries nothing else."""
        record = self.record(KEY_UPDATE, HANDSHAKE)
        self._use(self._expand(b"traffic upd", self._hash.digest_size))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = self._aead(self._expand(b"key", self._key_size))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._number = 0

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(self._hash, size, info).derive(self._secret)

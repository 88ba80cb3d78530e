"""The HTTP server that the demo's forwarded port leads to. A process of its own: python -m muxpy_cli._demo._target

GET /bulk/SEED/LENGTH and GET /small/NUMBER send bytes that both sides can make for themselves, so that each knows the
SHA-256 sum to expect; PUT answers with the length and SHA-256 sum of the body.
"""

from __future__ import annotations

import hashlib
import json
import random
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from ._children import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CHUNK", "bulk", "bulk_digest", "serve", "small"]

CHUNK: Final = 256 * 1024
POOL: Final = 16


@cache
def _pool() -> list[bytes]:
    """Random bytes, generated once: otherwise the demo would measure the generator and not the tunnel."""
    source = random.Random(4242)
    return [source.randbytes(CHUNK) for _ in range(POOL)]


def bulk(seed: int, length: int) -> Iterator[bytes]:
    """Pseudo-random bytes. Each chunk carries its seed and position, so a lost, repeated or swapped one is noticed."""
    pool = _pool()
    for place, start in enumerate(range(0, length, CHUNK)):
        label = seed.to_bytes(8, "big") + place.to_bytes(8, "big")
        chunk = label + pool[(seed + place) % POOL][len(label) :]
        yield chunk[: length - start]


def bulk_digest(seed: int, length: int) -> str:
    """The SHA-256 sum of `bulk(seed, length)`."""
    digest = hashlib.sha256()
    for chunk in bulk(seed, length):
        digest.update(chunk)
    return digest.hexdigest()


def small(number: int) -> bytes:
    """The answer to a small request: 64 to 2,047 bytes."""
    return hashlib.shake_128(str(number).encode()).digest(64 + number * 37 % 1984)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # http.server's 5 would refuse a burst of connections
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away is not worth a message."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # headers and a small body in one packet
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["bulk", seed, length]:
                self._answer(int(length), bulk(int(seed), int(length)))
            case ["small", number]:
                body = small(int(number))
                self._answer(len(body), [body])
            case _:
                self.send_error(404)

    def do_PUT(self) -> None:
        left = length = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        while left and (count := self.rfile.readinto(buffer[: min(left, CHUNK)])):
            digest.update(buffer[:count])
            left -= count
        body = json.dumps({"length": length - left, "sha256": digest.hexdigest()}).encode()
        self._answer(len(body), [body])

    def _answer(self, length: int, chunks: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve() -> None:
    """Serve on a free loopback port, which is printed, until the process is ended."""
    server = _Server(("127.0.0.1", 0), _Handler)
    print(f"serving on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    end_with_parent()
    serve()

"""Target: a connection of HTTP/2 that only receives. How its input is cut must change nothing."""

from collections.abc import Iterator

from muxpy.frame.http2 import PREFACE
from muxpy.http import Config
from muxpy.proto import Opening, StreamState
from muxpy.proto.http2 import Connection
from tests.frame.http2 import wire

from .decoder import cut
from .http2_peer import BEGIN, Peer
from .script import Script

__all__ = ["run"]

CONFIGS = (
    Config(max_streams=4, accept_backlog=3, receive_budget=200_000, max_header_bytes=600),
    Config(reset_burst=3, reset_rate=1.0),
)
GET = Opening(head=((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")))


CREDIT = bytes([wire.WINDOW_UPDATE, 0, 0, 0, 0, 0])
"""Begins window for the connection, after the length. It is given back once for a read."""


def split(written: bytes) -> Iterator[bytes]:
    """Whole frames."""
    while written:
        end = 9 + int.from_bytes(written[:3], "big")
        yield written[:end]
        written = written[end:]


class Reader:
    """A connection, and all streams that it has had."""

    def __init__(self, config: Config, *, client: bool) -> None:
        self.core = Connection(config, client=client, clock=lambda: 0.0)
        self.streams: dict[int, StreamState] = {}
        if client:
            stream = self.core.open(GET, fin=True)
            self.streams[stream.id] = stream

    def receive(self, data: bytes) -> None:
        self.streams.update((stream.id, stream) for stream in self.core.receive(data).opened)

    def unread(self, stream: StreamState) -> bytes:
        return b"".join(iter(lambda: self.core.read(stream, None), b""))

    def outcome(self) -> tuple[object, ...]:
        """All that came of it."""
        written = b""
        while batch := self.core.sending.next_batch(1 << 20):
            written += b"".join(batch.chunks)
        frames = [frame for frame in split(written.removeprefix(PREFACE)) if frame[3:9] != CREDIT]
        streams = {
            stream.id: (stream.phase, stream.reset_code, stream.send_window, self.unread(stream))
            for stream in self.streams.values()
        }
        return frames, str(self.core.error), self.core.remote_goaway, streams


def run(data: bytes) -> None:
    """Script: role and limits, where to cut, frames."""
    script = Script(data)
    client = script.flag()
    config = script.pick(CONFIGS)
    steps = [1 + script.byte() * script.byte() for _ in range(script.byte() % 8)]
    whole, parts = (Reader(config, client=client) for _ in range(2))
    peer = Peer(client=not client)
    received = BEGIN[24:] if client else BEGIN
    while script:
        received += peer.frame(script)
    whole.receive(received)
    for part in cut(received, steps):
        parts.receive(part)
    assert whole.outcome() == parts.outcome()

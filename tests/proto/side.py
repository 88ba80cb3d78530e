"""One connection under test, and a peer whose frames the test writes by hand."""

from collections.abc import Iterator

from muxpy import SessionConfig
from muxpy.proto import Changes, Opening, StreamState
from muxpy.proto.muxado import Connection
from tests.frame import wire
from tests.frame.wire import Frame

MANY = 1 << 30
"""A batch limit beyond everything."""


def output(connection: Connection) -> bytes:
    """All that the connection wants written now."""
    written = b""
    while batch := connection.sending.next_batch(MANY):
        written += b"".join(batch.chunks)
    return written


class Side:
    """A connection in one of the two roles. `ours` and `theirs` are the first ids of either side."""

    def __init__(self, client: bool, config: SessionConfig | None = None, *, extensions: tuple[int, ...] = ()) -> None:
        self.client = client
        self.config = config or SessionConfig()
        self.now = 0.0
        self.core = Connection(self.config, client=client, clock=lambda: self.now, extension_types=extensions)
        self.ours, self.theirs = (3, 2) if client else (2, 3)

    def receive(self, *frames: bytes) -> Changes:
        return self.core.receive(b"".join(frames))

    def sent(self) -> bytes:
        """What it wants written since the last call."""
        return output(self.core)

    def frames(self) -> list[Frame]:
        return wire.split(self.sent())

    def open(self, *, fin: bool = False) -> StreamState:
        """Open a stream, and see its SYN off."""
        stream = self.core.open(Opening(), fin=fin)
        self.sent()
        return stream

    def accept(self, stream_id: int | None = None, *, fin: bool = False) -> StreamState:
        """Have the peer open a stream, and accept it."""
        [stream] = self.receive(wire.syn(self.theirs if stream_id is None else stream_id, fin=fin)).opened
        self.core.accepted(stream)
        return stream

    def submit(self, stream: StreamState, data: bytes) -> None:
        self.core.sending.submit(stream, memoryview(data))

    def take(self, stream: StreamState, max_bytes: int | None = None) -> bytes:
        return self.core.read(stream, max_bytes)

    def take_all(self, stream: StreamState) -> bytes:
        return b"".join(iter(lambda: self.take(stream), b""))

    def their_ids(self) -> Iterator[int]:
        """Ids that the peer may open, in order."""
        return iter(range(self.theirs, 0x80000000, 2))

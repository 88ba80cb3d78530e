"""What waits to be written: control frames first, then data as the scheduler says."""

from muxpy._codes import ErrorCode, ProtocolError
from muxpy.frame import Buffer, encode_wnd_inc

from ._scheduler import Scheduler
from ._stream import StreamState

__all__ = ["Batch", "Outbox"]


class Batch:
    """Bytes for one or a few writes. `done`: streams whose submitted data ends in this batch."""

    __slots__ = ("_owned", "chunks", "done", "frames")

    def __init__(self, chunks: list[Buffer], done: list[StreamState], frames: int) -> None:
        self.chunks = chunks
        self.done = done
        self.frames = frames
        self._owned = False

    def advance(self, count: int) -> None:
        """Drop `count` written bytes from the front."""
        chunks = self.chunks
        index = 0
        for chunk in chunks:
            size = len(chunk)
            if count < size:
                break
            count -= size
            index += 1
        del chunks[:index]
        if count:
            chunks[0] = memoryview(chunks[0])[count:]

    def own(self) -> None:
        """Copy what is still a view of a sender's buffer: the sender was cancelled and may change it."""
        if not self._owned:  # many may be cancelled at once
            self.chunks[:] = [bytes(chunk) for chunk in self.chunks]
            self._owned = True


class Outbox:
    """Gathers control frames and window updates, and makes batches of them and of the streams' data.

    Control frames (SYN, RST, FIN, GOAWAY) keep their order. An empty FIN is one of them: it is only queued once
    its stream's data is in an earlier batch or in front of it, so it overtakes nothing. Window updates wait on
    their stream and merge.

    `limit` is the most frames that may wait for reasons of the peer's: answers, and what its own streams bring about.
    The frames of streams opened here do not count: whoever opens streams waits when many frames do.
    """

    __slots__ = ("_control", "_control_frames", "_counted", "_granting", "_limit", "scheduler")

    def __init__(self, limit: int) -> None:
        self.scheduler = Scheduler()
        self._control = bytearray()
        self._control_frames = 0
        self._counted = 0  # those of them that count against the limit
        self._granting: list[StreamState] = []
        self._limit = limit

    def __bool__(self) -> bool:
        return bool(self._control or self._granting or self.scheduler)

    @property
    def control_frames(self) -> int:
        """Control frames waiting."""
        return self._control_frames + len(self._granting)

    def put(self, frame: bytes, *, counts: bool = True) -> None:
        """Queue one control frame."""
        self._control += frame
        self._control_frames += 1
        self._counted += counts

    def grant(self, stream: StreamState, increment: int) -> None:
        """Queue a window update, merged with one that waits already."""
        if not stream.grant:
            self._granting.append(stream)
        stream.grant += increment

    def check(self) -> None:
        """Raise if what the peer made us queue earlier is more than it reads."""
        if self._counted + len(self._granting) > self._limit:
            raise ProtocolError(
                ErrorCode.PROTOCOL_ERROR,
                f"more than {self._limit} control frames wait to be written: the peer does not read its answers",
            )

    def next_batch(self, limit: int) -> Batch | None:
        """The next frames to write, all control frames and about `limit` bytes of data; None if there are none."""
        for stream in self._granting:
            if stream.grant:  # a reset may have taken it back
                self._control += encode_wnd_inc(stream.id, stream.grant)
                stream.grant = 0
                self._control_frames += 1
        self._granting.clear()
        chunks: list[Buffer] = []
        done: list[StreamState] = []
        frames = self._control_frames
        if self._control:
            chunks.append(self._control)
            self._control = bytearray()
            self._control_frames = self._counted = 0
        frames += self.scheduler.fill(chunks, limit, done)
        return Batch(chunks, done, frames) if chunks else None

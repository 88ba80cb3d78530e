"""What waits to be written: what is framed already, in its order, then data as the scheduler says."""

from collections.abc import Callable
from typing import Final

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._config import SessionConfig
from muxpy.frame import HEADER_SIZE, Buffer, encode_data_header, encode_rst, encode_wnd_inc

from ._changes import Counters
from ._scheduler import Scheduler
from ._stream import StreamState

__all__ = ["Batch", "Outbox"]

GRANT_SIZE: Final = HEADER_SIZE + 4
"""Bytes of a WND_INC."""


class Batch:
    """Bytes for one or a few writes: `size` of them. `done`: streams whose submitted data ends in this batch."""

    __slots__ = ("_owned", "chunks", "done", "size")

    def __init__(self, chunks: list[Buffer], done: list[StreamState], size: int) -> None:
        self.chunks = chunks
        self.done = done
        self.size = size
        self._owned = False

    def add(self, chunk: Buffer) -> None:
        """Add bytes at the end."""
        self.chunks.append(chunk)
        self.size += len(chunk)

    def advance(self, count: int) -> None:
        """Drop `count` written bytes from the front."""
        chunks = self.chunks
        self.size -= count
        if not self.size:
            chunks.clear()
            return
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
    """Gathers frames, and makes batches of them and of the streams' data.

    Framed at once, and kept in their order: control frames (SYN, RST, FIN, GOAWAY), and small messages as long as
    nothing stands in line. An empty FIN is only queued once its stream's data is in an earlier batch or in front of
    it, so it overtakes nothing. Window updates wait on their stream and merge; of the resets for one stream that wait
    at the same time only the first is sent.

    `max_control_frames` and `max_control_bytes` bound what may wait for reasons of the peer's: answers, window updates,
    and what its own streams bring about. The other frames of streams opened here do not count: whoever opens streams
    waits when many do.
    """

    __slots__ = (
        "_control_frames",
        "_counted",
        "_counted_bytes",
        "_counters",
        "_framed",
        "_granting",
        "_most_bytes",
        "_most_frames",
        "_resetting",
        "scheduler",
        "small_frames",
    )

    def __init__(self, config: SessionConfig, counters: Counters) -> None:
        self.scheduler = Scheduler()
        self.small_frames = 0
        self._framed = bytearray()
        self._control_frames = 0
        self._counted = self._counted_bytes = 0  # those of them that count against the limits
        self._granting: list[StreamState] = []
        self._resetting: set[int] = set()
        self._most_frames, self._most_bytes = config.max_control_frames, config.max_control_bytes
        self.expect_streams(config.max_streams)
        self._counters = counters

    def expect_streams(self, most: int) -> None:
        """So many streams of the peer may be open, or were allowed before and still are."""
        # All of them may end in one turn of the scheduler, each with a FIN and with window for what was not read, and
        # that is not the peer's fault.
        self._most_frames = max(self._most_frames, 2 * most)
        self._most_bytes = max(self._most_bytes, 2 * GRANT_SIZE * most)

    def __bool__(self) -> bool:
        return bool(self._framed or self._granting or self.scheduler.waiting)

    @property
    def control_frames(self) -> int:
        """Control frames waiting."""
        return self._control_frames + len(self._granting)

    def put(self, frame: bytes, *, counts: bool = True) -> None:
        """Queue one control frame."""
        self._framed += frame
        self._control_frames += 1
        if counts:
            self._counted += 1
            self._counted_bytes += len(frame)

    def put_rst(self, stream_id: int, code: int, *, counts: bool) -> None:
        """Queue an RST, unless one for this stream waits already."""
        if stream_id not in self._resetting:
            self._resetting.add(stream_id)
            self.put(encode_rst(stream_id, code), counts=counts)

    def put_small(self, stream: StreamState, data: bytes | bytearray) -> bool:
        """Frame a small message now, if the stream has window for it and nothing stands in line that it would pass."""
        size = len(data)
        if stream.send_window < size or self.scheduler.waiting:
            return False
        self._framed += encode_data_header(stream.id, size) + data  # at once: a Ctrl-C must not leave half a frame
        self.small_frames += 1
        stream.send_window -= size
        stream.data_sent += size
        self._counters.data_sent += size
        return True

    def grant(self, stream: StreamState, increment: int) -> None:
        """Queue a window update, merged with one that waits already."""
        if not stream.grant:
            self._granting.append(stream)
        stream.grant += increment

    def check(self) -> None:
        """Raise if what the peer made us queue earlier is more than it reads."""
        if self._counted + len(self._granting) > self._most_frames:
            too_much = f"{self._most_frames} control frames"
        elif self._counted_bytes + len(self._granting) * GRANT_SIZE > self._most_bytes:
            too_much = f"{self._most_bytes} bytes of control frames"
        else:
            return
        raise ProtocolError(
            ErrorCode.PROTOCOL_ERROR,
            f"more than {too_much} wait to be written: the peer does not read its answers",
        )

    def next_batch(self, limit: int, clock: Callable[[], float], *, turn: int = 1, exact: bool = True) -> Batch | None:
        """The next frames to write, all that is framed and about `limit` bytes of data; None if there are none."""
        chunks: list[Buffer] = []
        done: list[StreamState] = []
        frames = size = 0
        if self._granting:
            self._frame_grants()
        if self._framed:
            chunks.append(self._framed)
            size = len(self._framed)
            frames = self._control_frames + self.small_frames
            self._framed = bytearray()
            self._control_frames = self._counted = self._counted_bytes = self.small_frames = 0
            if self._resetting:
                self._resetting.clear()
        if self.scheduler.waiting:
            before = len(chunks)
            data_size = self.scheduler.fill(chunks, limit, done, clock, turn=turn, exact=exact)
            data_frames = (len(chunks) - before) // 2  # a header and a payload each
            self._counters.data_sent += data_size - data_frames * HEADER_SIZE
            size += data_size
            frames += data_frames
        self._counters.frames_sent += frames
        return Batch(chunks, done, size) if chunks else None

    def _frame_grants(self) -> None:
        for stream in self._granting:
            if stream.grant:  # a reset may have taken it back
                self.put(encode_wnd_inc(stream.id, stream.grant), counts=False)
                stream.grant = 0
                self._counters.window_updates_sent += 1
        self._granting.clear()

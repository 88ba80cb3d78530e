"""Frames that are made and wait to be written, in their order."""

from typing import Protocol

from muxpy._codes import TooMuch
from muxpy._config import SessionConfig
from muxpy.frame import Buffer

from ._changes import Counters
from ._stream import StreamState

__all__ = ["Framing", "Outbox"]


class Framing(Protocol):
    """How a protocol writes the frames that all protocols have."""

    @property
    def header_size(self) -> int:
        """Bytes in front of the data of one frame."""

    @property
    def max_payload(self) -> int:
        """The most bytes of data that one frame carries; it may change."""

    def data_header(self, stream_id: int, size: int, end: bool = False, /) -> bytes:
        """The header of a frame of data; with `end`, the frame ends the direction (half-close)."""

    def set_end(self, frames: bytearray, start: int, /) -> None:
        """Let the frame of data that starts there end the direction."""

    def reset(self, stream_id: int, code: int, /) -> bytes:
        """The frame that resets a stream."""

    def window_update(self, stream_id: int, increment: int, /) -> bytes:
        """The frame that gives the peer more window."""


class Outbox:
    """Gathers frames that are made as soon as they are wanted: control frames (of streams that are opened, ended or
    reset, and of the connection), and small messages as long as no data stands in line.

    A frame that ends a stream is queued only when the stream's data is in an earlier batch or in front of it, so it
    overtakes nothing. Window updates wait on their stream and merge. Of the resets for one stream that wait at the same
    time, only the first is sent.

    `max_control_frames` and `max_control_bytes` bound the frames that wait because of the peer: answers, window
    updates, and frames for the streams that the peer opened. Other frames of streams opened here do not count: there
    is backpressure for these, since `open_stream` waits when many frames wait.
    """

    __slots__ = (
        "_control_frames",
        "_counted",
        "_counted_bytes",
        "_counters",
        "_framing",
        "_most_bytes",
        "_most_frames",
        "_resetting",
        "_update_size",
        "framed",
        "last_small",
        "small_frames",
        "updates",
    )

    def __init__(self, config: SessionConfig, counters: Counters, framing: Framing) -> None:
        self.framed = bytearray()
        self.small_frames = 0  # how many small messages are in `framed`
        self.last_small: dict[int, int] = {}  # where there the last small message of each stream starts
        self.updates: list[StreamState] = []  # streams whose window updates wait
        self._framing = framing
        self._update_size = framing.header_size + 4  # in all protocols that there are
        self._counters = counters
        self._control_frames = 0
        self._counted = self._counted_bytes = 0  # the control frames that count against the limits
        self._resetting: dict[int, None] = {}  # an empty set takes three times as much
        self._most_frames, self._most_bytes = config.max_control_frames, config.max_control_bytes
        self.expect_streams(config.max_streams)

    def expect_streams(self, most: int) -> None:
        """The peer may have `most` streams open; more may still be open from when more were allowed."""
        # All of them may end in one pass of the scheduler, each with a frame that ends it and a window update for what
        # was not read, and that is not the peer's fault.
        self._most_frames = max(self._most_frames, 2 * most)
        self._most_bytes = max(self._most_bytes, 2 * self._update_size * most)

    @property
    def control_frames(self) -> int:
        """Control frames waiting."""
        return self._control_frames + len(self.updates)

    def put(self, frame: bytes, *, counts: bool = True) -> None:
        """Queue one control frame. `counts`: whether it waits because of the peer, and so counts against the limits."""
        self.framed += frame
        self._control_frames += 1
        if counts:
            self._counted += 1
            self._counted_bytes += len(frame)

    def end_small(self, stream_id: int) -> bool:
        """Let the last small message of a stream end its direction, so that no frame of its own does. Returns False if
        none waits to be written."""
        start = self.last_small.get(stream_id)
        if start is None:
            return False
        self._framing.set_end(self.framed, start)
        return True

    def put_reset(self, stream_id: int, code: int, *, counts: bool) -> None:
        """Queue a reset, unless one for this stream waits already."""
        if stream_id not in self._resetting:
            self._resetting[stream_id] = None
            self.put(self._framing.reset(stream_id, code), counts=counts)

    def update_window(self, stream: StreamState, increment: int) -> None:
        """Queue a window update, merged with one that waits already."""
        if not stream.incoming.unwritten:
            self.updates.append(stream)
        stream.incoming.unwritten += increment

    def check(self) -> None:
        """Raise ProtocolError if the peer made us queue more earlier than the limits allow: it does not read."""
        if self._counted + len(self.updates) > self._most_frames:
            too_much = f"{self._most_frames} control frames"
        elif self._counted_bytes + len(self.updates) * self._update_size > self._most_bytes:
            too_much = f"{self._most_bytes} bytes of control frames"
        else:
            return
        raise TooMuch(f"more than {too_much} wait to be written: the peer does not read its answers")

    def empty(self) -> tuple[Buffer, int]:
        """Take all frames out: their bytes, and how many they are."""
        if self.updates:
            self._frame_updates()
        framed, frames = self.framed, self.small_frames + self._control_frames
        self.framed = bytearray()
        self._control_frames = self._counted = self._counted_bytes = self.small_frames = 0
        if self.last_small:
            self.last_small.clear()
        if self._resetting:
            self._resetting.clear()
        return framed, frames

    def _frame_updates(self) -> None:
        for stream in self.updates:
            window = stream.incoming
            if window.unwritten:  # a reset may have set it to 0
                self.put(self._framing.window_update(stream.id, window.unwritten), counts=False)
                window.unwritten = 0
                self._counters.window_updates_sent += 1
        self.updates.clear()

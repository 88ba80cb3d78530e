"""Who sends next: weighted deficit round robin, in bytes.

Each stream that has data and window stands in line. At the head it may send its quantum times its weight, in
frames of at most 16 KiB, then goes to the back. The weight is 1 + bit_length(priority): 1 for priority 0, 32 for
the highest. A higher priority gets more and nobody starves. Streams of extensions (heartbeats) go before all
others: their few bytes must not queue behind data.
"""

from collections import deque
from typing import Final

from muxpy.frame import HEADER_SIZE, MAX_PAYLOAD, Buffer, encode_data_header

from ._stream import StreamState

__all__ = ["Scheduler", "weight"]

QUANTUM: Final = MAX_PAYLOAD
"""Bytes a turn for weight 1: one full frame, so that bulk goes in full frames and a small message waits for at most one
frame of each other stream of priority 0, and as many as its weight of one with more."""


def weight(priority: int) -> int:
    """The share of a stream beside one of priority 0."""
    return 1 + priority.bit_length()


class Scheduler:
    """The line of streams with something to send."""

    __slots__ = ("_line", "_urgent")

    def __init__(self) -> None:
        self._line: deque[StreamState] = deque()
        self._urgent: deque[StreamState] = deque()

    def __bool__(self) -> bool:
        return bool(self._line or self._urgent)

    def add(self, stream: StreamState) -> None:
        """Put a stream in line, if it has data, window, and is not there yet."""
        if stream.scheduled or stream.outgoing is None or stream.send_window <= 0:
            return
        stream.scheduled = True
        (self._urgent if stream.extension else self._line).append(stream)

    def fill(self, chunks: list[Buffer], limit: int, done: list[StreamState]) -> int:
        """Append about `limit` bytes of frames to `chunks`; streams whose data is all framed go to `done`.

        Returns the number of frames.
        """
        frames = size = 0
        for line in (self._urgent, self._line):
            while line and size < limit:
                stream = line[0]
                if stream.deficit <= 0:
                    stream.deficit += QUANTUM * weight(stream.priority)
                outgoing = stream.outgoing
                while outgoing is not None and stream.send_window > 0 and stream.deficit > 0 and size < limit:
                    start = stream.position
                    count = min(len(outgoing) - start, MAX_PAYLOAD, stream.send_window)
                    chunks.append(encode_data_header(stream.id, count))
                    chunks.append(outgoing[start : start + count])
                    frames += 1
                    size += count + HEADER_SIZE
                    stream.deficit -= count
                    stream.send_window -= count
                    stream.position = start + count
                    if stream.position == len(outgoing):
                        outgoing = stream.outgoing = None
                        done.append(stream)
                if outgoing is None or stream.send_window <= 0:
                    line.popleft()
                    stream.scheduled = False
                elif stream.deficit <= 0:
                    line.rotate(-1)
        return frames

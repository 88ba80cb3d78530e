"""Who sends next: weighted deficit round robin, in bytes.

Each stream that has data and window stands in line. At the head it may send its quantum times its weight, in
frames of at most 16 KiB, then goes to the back. The weight is 1 + bit_length(priority): 1 for priority 0, 32 for
the highest. A higher priority gets more and nobody starves. Streams of extensions (heartbeats) go before all
others: their few bytes must not queue behind data.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from muxpy.frame import HEADER_SIZE, MAX_PAYLOAD, Buffer, encode_data_header

from ._stream import StreamState

__all__ = ["Scheduler", "weight"]

QUANTUM: Final = MAX_PAYLOAD
"""Bytes a turn for weight 1: one full frame, so that bulk goes in full frames and a small message waits for at most one
frame of each other stream of priority 0, and as many as its weight of one with more."""

WORTHWHILE: Final = 64 * 1024
"""Bytes that are worth a batch, if it ends there so that a stream can come back to the rest of its turn."""


def weight(priority: int) -> int:
    """The share of a stream beside one of priority 0."""
    return 1 + priority.bit_length()


class Scheduler:
    """The line of streams with something to send."""

    __slots__ = ("_line", "_urgent", "waiting")

    def __init__(self) -> None:
        self.waiting = 0  # streams in line; a plain number, since every message asks
        self._line: deque[StreamState] = deque()
        self._urgent: deque[StreamState] = deque()

    def add(self, stream: StreamState) -> None:
        """Put a stream in line, if it has data, window, and is not there yet.

        One that comes back with a part of its turn unused goes on with it, at the head. A sender has one write in line
        at a time, often less than its turn; at the back it would lose the rest each time, and its weight with it.
        It also lets a small message pass bulk data as long as its stream has used less than its share.
        """
        if stream.scheduled or stream.outgoing is None or stream.send_window <= 0:
            return
        stream.scheduled = True
        self.waiting += 1
        line = self._urgent if stream.extension else self._line
        if stream.deficit > 0:
            line.appendleft(stream)
        else:
            line.append(stream)

    def fill(
        self,
        chunks: list[Buffer],
        limit: int,
        done: list[StreamState],
        clock: Callable[[], float],
        *,
        turn: int = 1,
        exact: bool = True,
    ) -> int:
        """Append about `limit` bytes of frames to `chunks`, a header and a payload each; how many bytes that made.

        Streams whose data is all framed go to `done`. `turn`: a turn's length in quanta. `exact`: end early where a
        stream has a turn left for which it may come back.
        """
        size = 0
        for line in (self._urgent, self._line):
            while line and size < limit:
                stream = line[0]
                outgoing = stream.outgoing
                if outgoing is not None:  # else it was withdrawn
                    alone = len(line) == 1 and not (exact and done)
                    size += _take_turn(stream, outgoing, chunks, limit - size, 0 if alone else turn)
                    if stream.position == len(outgoing):
                        stream.outgoing = outgoing = None
                        done.append(stream)
                        if exact and stream.deficit > 0 and size >= WORTHWHILE:
                            limit = size  # with a turn left it comes back to the head of the line: let it
                    elif exact and done and len(line) == 1:
                        limit = size  # alone only until they come back: a turn of it, not all that is left of the batch
                if outgoing is None or stream.send_window <= 0:
                    line.popleft()
                    self.waiting -= 1
                    stream.scheduled = False
                    if outgoing is not None:
                        stream.wait_for_window(clock())
                elif stream.deficit <= 0:
                    line.rotate(-1)
        return size


def _take_turn(stream: StreamState, outgoing: memoryview, chunks: list[Buffer], limit: int, turn: int) -> int:
    """Frame data of the stream at the head until its turn, its window, its data or the batch ends; how many bytes.

    A `turn` of 0 has no end but that: for one alone in line, going round for each frame would double the price.
    """
    room = limit
    if turn:
        if stream.deficit <= 0:
            stream.deficit += turn * QUANTUM * weight(stream.priority)
        room = min(limit, stream.deficit)
    start = position = stream.position
    last = start + -(-room // MAX_PAYLOAD) * MAX_PAYLOAD  # a frame that is begun is sent whole
    end = min(len(outgoing), start + stream.send_window, last)
    header = encode_data_header(stream.id, MAX_PAYLOAD)
    while (stop := position + MAX_PAYLOAD) <= end:
        chunks.append(header)
        chunks.append(outgoing[position:stop])
        position = stop
    if position < end:
        chunks.append(encode_data_header(stream.id, end - position))
        chunks.append(outgoing[position:end])
    count = end - start
    stream.position = end
    stream.send_window -= count
    stream.data_sent += count
    if turn:
        stream.deficit -= count
    return count + -(-count // MAX_PAYLOAD) * HEADER_SIZE

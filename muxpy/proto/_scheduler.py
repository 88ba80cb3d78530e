"""Which stream sends next: weighted deficit round robin, in bytes. It avoids head-of-line blocking by bulk data.

Each stream that has data and window stands in line. At the head of the line it may send its quantum times its weight,
in full frames, and then goes to the back. The weight is 1 + bit_length(priority): 1 for priority 0, 32 for the highest.
A stream of higher priority gets more, and no stream starves. Streams of extensions (heartbeats) go before all others:
their few bytes must not queue behind data.

**A stream resumes its turn.** Deficit round robin usually takes the unused part of a turn away when a stream runs out
of data. But a task that sends 64 KiB at a time runs out each time, and at weight 32 would lose seven eighths of its
turn each time. So a stream that comes back with a part of its turn left goes to the head of the line; a batch ends
early where that may happen (`exact`); and the writer gives the tasks whose data went out a pass of Trio's scheduler
before it chooses again. This takes nothing from other streams: a turn begins only at the head of the line, once each
round. The shares are still not exact. A write that ends early in a batch leaves its stream out of the rest of the
batch, so beside two or three others a sender of 64 KiB at a time can lose up to half its share, and one of 20 KB at a
time most of it; beside many others, or with more in each write, the weights hold. Ending each batch at such a write
would be exact, and cost a system call each time.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from muxpy.frame import Buffer

from ._outbox import Framing
from ._outgoing import Outgoing
from ._stream import StreamState

__all__ = ["Scheduler", "weight"]

QUANTUM: Final = 0x3FFF
"""Bytes in a turn at weight 1: one full frame of muxado. So bulk goes in full frames, and a small message waits for at
most one frame of each other stream of priority 0, and for as many frames of a higher priority as its weight."""

TAIL: Final = 1024
"""Bytes that go with the turn before them, if they are all that is left of a write: they are paid for in the next turn.
Writes are often powers of two, and a full frame has one byte less. Without this, 64 KiB would take a turn of their own
for the last four bytes, and wake their receiver for these."""

WORTHWHILE: Final = 64 * 1024
"""Bytes that are enough for a batch which ends early, so that a stream can come back to the rest of its turn."""


def weight(priority: int) -> int:
    """How many times the share of a stream of priority 0 this priority gets."""
    return 1 + priority.bit_length()


class Scheduler:
    """The line of streams that have something to send."""

    __slots__ = ("_framing", "_line", "_urgent", "credit", "waiting")

    def __init__(self, framing: Framing) -> None:
        self.waiting = 0  # streams in line; a plain number, since every message asks
        self.credit = inf  # bytes that the peer lets all streams together send, where a protocol has such a window
        self._framing = framing
        # Made when a stream first stands there: an empty deque takes 600 bytes, and most connections are idle.
        self._line: deque[StreamState] | None = None
        self._urgent: deque[StreamState] | None = None

    def add(self, stream: StreamState) -> None:
        """Put a stream in line, if it has data and window and is not there yet.

        A stream that comes back with a part of its turn unused goes on with that, at the head. A sender has one write
        in line at a time, often less than its turn; at the back it would lose the rest of the turn each time, and its
        weight with it. So a small message also passes bulk data, as long as its stream has used less than its share.
        """
        outgoing = stream.outgoing
        if outgoing is None or outgoing.scheduled or outgoing.data is None or stream.send_window <= 0:
            return
        outgoing.scheduled = True
        self.waiting += 1
        line = (self._urgent if stream.extension else self._line) or self._line_of(stream)
        if outgoing.deficit > 0:
            line.appendleft(stream)
        else:
            line.append(stream)

    def _line_of(self, stream: StreamState) -> deque[StreamState]:
        """The line for the stream, which is empty or was never needed."""
        if stream.extension:
            self._urgent = line = deque() if self._urgent is None else self._urgent
        else:
            self._line = line = deque() if self._line is None else self._line
        return line

    def remove(self, stream: StreamState) -> None:
        """Take a stream out of the line, if it is there. Its next turn would do that too, but without credit there are
        no turns, and streams that come and go would pile up."""
        if stream.outgoing is not None and stream.outgoing.scheduled:
            stream.outgoing.scheduled = False
            self.waiting -= 1
            self._line_of(stream).remove(stream)

    def fill(
        self,
        chunks: list[Buffer],
        limit: int,
        done: list[StreamState],
        clock: Callable[[], float],
        *,
        quanta: int = 1,
        exact: bool = True,
    ) -> int:
        """Append about `limit` bytes of frames to `chunks`, a header and a payload each. Returns how many bytes.

        Streams whose data is all framed go to `done`. `quanta`: how many a turn has, at weight 1. `exact`: end early
        where a stream may come back to the rest of its turn.
        """
        size = 0
        for line in (self._urgent, self._line):
            while line and size < limit and self.credit > 0:
                stream = line[0]
                outgoing = stream.outgoing
                assert outgoing is not None
                data = outgoing.data
                if data is not None:  # otherwise it was withdrawn
                    alone = len(line) == 1 and not (exact and done)
                    turn, tail = (0, TAIL) if alone else (quanta, 0 if exact else TAIL)
                    size += self._frame_turn(stream, outgoing, data, chunks, limit - size, turn, tail)
                    finished = outgoing.position == len(data)
                    comes_back = outgoing.deficit > 0 and not stream.ends
                    if exact and _ends_here(finished, comes_back, done, size, len(line)):
                        limit = size
                    if finished:
                        outgoing.data = None
                        done.append(stream)
                self._pass_turn(line, stream, outgoing, clock)
        return size

    def _frame_turn(
        self,
        stream: StreamState,
        outgoing: Outgoing,
        data: memoryview,
        chunks: list[Buffer],
        limit: int,
        quanta: int,
        tail: int,
    ) -> int:
        """Frame data of the stream at the head until its turn, a window, its data or the batch ends. Returns how many
        bytes, headers included.

        With 0 `quanta` a turn has no limit: for a stream alone in line, a turn for each frame would double the cost.
        `tail`: bytes by which the turn may be longer, if they are the last.
        """
        framing = self._framing
        room = limit
        if quanta:
            if outgoing.deficit <= 0:
                outgoing.deficit += quanta * QUANTUM * weight(stream.priority)
            room = min(limit, outgoing.deficit)
        most = framing.max_payload
        start = position = outgoing.position
        last = start + -(-room // most) * most  # rounded up to whole frames
        end = min(len(data) if last + tail >= len(data) else last, start + stream.send_window)
        if self.credit < end - start:
            end = start + int(self.credit)
        header = framing.data_header(stream.id, most)
        while (stop := position + most) <= end:
            chunks.append(header)
            chunks.append(data[position:stop])
            position = stop
        if position < end:
            chunks.append(framing.data_header(stream.id, end - position))
            chunks.append(data[position:end])
        if stream.ends and end == len(data):
            chunks[-2] = framing.data_header(stream.id, len(chunks[-1]), True)
        count = max(end - start, 0)  # it is below 0 if the peer has taken window back
        outgoing.position += count
        stream.send_window -= count
        stream.sent += count
        self.credit -= count
        if quanta:
            outgoing.deficit -= count
        return count + -(-count // most) * framing.header_size

    def _pass_turn(
        self, line: deque[StreamState], stream: StreamState, outgoing: Outgoing, clock: Callable[[], float]
    ) -> None:
        """Take the stream at the head out of line, move it to the back, or leave it there for the rest of its turn."""
        if outgoing.data is None or stream.send_window <= 0:
            line.popleft()
            self.waiting -= 1
            outgoing.scheduled = False
            if outgoing.data is not None:
                outgoing.wait_for_window(clock())
        elif outgoing.deficit <= 0:
            line.rotate(-1)


def _ends_here(finished: bool, comes_back: bool, done: list[StreamState], size: int, in_line: int) -> bool:
    """Whether the batch ends here, because a stream may come back to the rest of its turn."""
    if finished:
        return comes_back and size >= WORTHWHILE  # to the head of the line
    # The stream is alone only until those in `done` come back: it gets one turn, and not the rest of the batch.
    return in_line == 1 and bool(done)

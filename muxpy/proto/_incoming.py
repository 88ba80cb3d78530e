"""The receiving direction of one stream: its window, and the bytes that nobody has read yet."""

from typing import Final

from ._window import ReceiveWindow

__all__ = ["Incoming"]

MERGE_BELOW: Final = 4096
"""Unread chunks that together stay below this many bytes are merged. Otherwise a peer that sends single bytes would
make each of them cost an object of fifty bytes."""


class Incoming(ReceiveWindow):
    """The receiving direction of one stream. It is its window, rather than to have one: an object less for each
    stream."""

    __slots__ = ("_offset", "arriving", "buffered", "chunks", "direct")

    def __init__(self) -> None:
        ReceiveWindow.__init__(self)
        self.arriving: list[memoryview] | None = None  # pieces of the read that is being acted on
        self.chunks: list[bytes] | None = None  # unread, oldest first; None costs an idle stream nothing
        self._offset = 0  # read position in chunks[0]
        self.buffered = 0  # unread bytes
        self.direct = False  # new data is offered to the shell before it is kept

    def settle(self) -> int:
        """Turn the pieces of the last read, which are views of its buffer, into one chunk: the only copy that a byte
        costs on the way in. Returns the chunk's size."""
        arriving = self.arriving
        self.arriving = None
        if not arriving:
            return 0
        chunk = arriving[0].tobytes() if len(arriving) == 1 else b"".join(arriving)
        chunks = self.chunks
        if chunks is None:
            self.chunks = [chunk]
        elif len(chunks[-1]) + len(chunk) <= MERGE_BELOW:
            chunks[-1] += chunk
        else:
            chunks.append(chunk)
        return len(chunk)

    def skip_arriving(self, count: int) -> None:
        """The first `count` bytes of the last read were passed on, and need not be kept."""
        arriving = self.arriving
        assert arriving is not None
        self.buffered -= count
        index = 0
        while count and count >= len(arriving[index]):
            count -= len(arriving[index])
            index += 1
        del arriving[:index]
        if count:
            arriving[0] = arriving[0][count:]

    def read(self, max_bytes: int | None) -> bytes:
        """Remove and return unread bytes: the oldest chunk, at most `max_bytes` of it; b"" if there are none."""
        chunks = self.chunks
        if not chunks:
            return b""
        chunk = chunks[0]
        if max_bytes is None and len(chunk) == self.buffered and not self._offset:
            # One whole message: most often it is all there is.
            self.chunks = None
            self.buffered = 0
            return chunk
        start = self._offset
        stop = len(chunk) if max_bytes is None else min(len(chunk), start + max_bytes)
        if stop < len(chunk):
            self._offset = stop
            if 2 * stop > len(chunk) > MERGE_BELOW:  # bytes that were read must not use memory for long
                chunks[0] = chunk[stop:]
                self._offset = 0
        else:
            self._offset = 0
            if len(chunks) == 1:
                self.chunks = None
            else:
                del chunks[0]
        data = chunk if stop - start == len(chunk) else chunk[start:stop]
        self.buffered -= stop - start
        return data

    def drop(self) -> int:
        """Throw away what was not read. Returns how many bytes that was."""
        dropped = self.buffered
        self.chunks = self.arriving = None
        self._offset = self.buffered = 0
        return dropped

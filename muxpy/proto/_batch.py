"""The bytes that are written together: one batch."""

from dataclasses import dataclass

from muxpy.frame import Buffer

from ._stream import StreamState

__all__ = ["Batch"]


@dataclass(slots=True)
class Batch:
    """Bytes for one write, or a few: frames, and views of the senders' own buffers, so that data is not copied."""

    chunks: list[Buffer]
    done: list[StreamState]
    """Streams whose submitted data ends in this batch."""
    size: int
    _owned: bool = False

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
        """Copy all that is still a view: a sender was cancelled, and may change or resize its buffer immediately. Only
        then are bytes copied; a sender that waits leaves its buffer alone."""
        if not self._owned:  # many senders may be cancelled together
            self.chunks[:] = [bytes(chunk) for chunk in self.chunks]
            self._owned = True

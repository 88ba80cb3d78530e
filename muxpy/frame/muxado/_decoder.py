"""Bytes to frames, wherever reads have cut the bytes."""

from collections.abc import Iterator
from typing import Final

from muxpy.frame import Buffer

from ._frames import body_size
from ._header import DATA, HEADER, HEADER_SIZE, LENGTH_MASK, MASK_31, TYPE_MASK

Piece = tuple[int, int, int, memoryview, int]
"""`(type, flags, stream id, body, rest)`.

A control frame comes as one piece with its whole body. The payload of a DATA frame comes in as many pieces as there
were reads that carried it, each as soon as it is received. `rest` is how many bytes of the frame are still to come, so
FIN counts in the piece whose rest is 0. `body` is a view of the buffer that was fed; keep a copy, not the view.
"""

_EMPTY: Final = memoryview(b"")


class Decoder:
    """Cuts a byte stream into frames.

    It holds back at most one header and one control body. It never holds back a payload: payloads are handed on as
    views. A length that is wrong for its type is reported when the header is read, before any of the body is kept.
    """

    __slots__ = ("_flags", "_partial", "_payload_left", "_stream_id", "position")

    def __init__(self) -> None:
        self.position = 0
        """Bytes of the fed buffer up to the end of the last piece: where a caller that stops early goes on."""
        self._partial = bytearray()  # the start of a header, or of a control frame, that a read cut off
        self._payload_left = 0  # payload bytes of the current DATA frame that are still to come
        self._flags = 0
        self._stream_id = 0

    @property
    def mid_frame(self) -> bool:
        """Whether the bytes so far end inside a frame."""
        return bool(self._partial or self._payload_left)

    def lone_data(self, data: Buffer) -> int | None:
        """The stream's id, if `data` is one whole DATA frame with a payload and no flags: what is most often read where
        somebody waits for an answer. Otherwise None: `feed` it."""
        size = len(data) - HEADER_SIZE
        if size <= 0 or self._partial or self._payload_left:
            return None
        length, flags, kind, stream_id = HEADER.unpack_from(data)
        return stream_id & MASK_31 if kind == DATA and length == size and not flags else None

    def feed(self, data: Buffer) -> Iterator[Piece]:
        """Yield the pieces that `data` completes or carries. Raises ProtocolError for a malformed frame.

        Exhaust the iterator before feeding more; or stop after a piece, and feed the bytes from `position` on next.
        """
        view = data if isinstance(data, memoryview) else memoryview(data)
        end = len(view)
        pos = 0
        if self._partial:
            pos, piece = self._resume(view)
            if piece is not None:
                self.position = pos
                yield piece
        if self._payload_left and pos < end:
            start, pos = pos, min(pos + self._payload_left, end)
            self._payload_left -= pos - start
            self.position = pos
            yield DATA, self._flags, self._stream_id, view[start:pos], self._payload_left
        unpack = HEADER.unpack_from
        while end - pos >= HEADER_SIZE:
            length, flags, kind, stream_id = unpack(view, pos)
            length &= LENGTH_MASK
            kind &= TYPE_MASK
            stream_id &= MASK_31
            start = pos + HEADER_SIZE
            if kind == DATA:
                pos = start + length
                if pos <= end:
                    self.position = pos
                    yield DATA, flags, stream_id, view[start:pos], 0
                    continue
                self.position = end
                self._expect(flags, stream_id, pos - end)
                if start < end:
                    yield DATA, flags, stream_id, view[start:end], self._payload_left
                return
            stop = start + body_size(kind, flags, length)
            if stop > end:
                break
            self.position = pos = stop
            yield kind, flags, stream_id, view[start:stop] if start < stop else _EMPTY, 0
        if pos < end:
            self._partial += view[pos:]

    def _expect(self, flags: int, stream_id: int, rest: int) -> None:
        self._flags = flags
        self._stream_id = stream_id
        self._payload_left = rest

    def _resume(self, view: memoryview) -> tuple[int, Piece | None]:
        """Complete the frame that an earlier read cut off. Returns how much of `view` is used up, and the piece, or
        None if that is still not whole."""
        partial = self._partial
        pos = self._top_up(HEADER_SIZE, view, 0)
        if len(partial) < HEADER_SIZE:
            return pos, None
        length, flags, kind, stream_id = HEADER.unpack_from(partial)
        length &= LENGTH_MASK
        kind &= TYPE_MASK
        stream_id &= MASK_31
        if kind == DATA:
            self._partial = bytearray()
            self._expect(flags, stream_id, length)
            return pos, None if length else (DATA, flags, stream_id, _EMPTY, 0)
        whole = HEADER_SIZE + body_size(kind, flags, length)
        pos = self._top_up(whole, view, pos)
        if len(partial) < whole:
            return pos, None
        self._partial = bytearray()
        return pos, (kind, flags, stream_id, memoryview(partial)[HEADER_SIZE:], 0)

    def _top_up(self, size: int, view: memoryview, pos: int) -> int:
        missing = size - len(self._partial)
        if missing <= 0:
            return pos
        self._partial += view[pos : pos + missing]
        return min(pos + missing, len(view))

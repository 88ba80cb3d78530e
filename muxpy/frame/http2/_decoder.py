"""Bytes to frames, wherever reads have cut the bytes."""

from collections.abc import Iterator
from typing import Any, Final

from muxpy.frame import Buffer

from ._frames import check_padding, wrong_size
from ._header import DATA, DEFAULT_MAX_FRAME_SIZE, HEADER, HEADER_SIZE, MASK_31, PADDED

Piece = tuple[int, int, int, Any, int, int]
"""`(type, flags, stream id, body, rest, padding)`.

The payload of a DATA frame comes in as many pieces as there were reads that carried it, each as soon as it is received.
`rest` is how many bytes of the frame are still to come, so END_STREAM counts in the piece whose rest is 0. `body` is a
view of the buffer that was fed, without padding; keep a copy, not the view. `padding` is how many bytes came with the
piece that are no payload, the padding and its length: windows count those too.

Any other frame comes as one piece with its whole body, as bytes. Only its length was looked at.
"""

_EMPTY: Final = memoryview(b"")


class Decoder:
    """Cuts a byte stream into frames; the preface of a client is not part of it.

    It holds back at most one header and the body of one frame that is not DATA. It never holds back a payload: payloads
    are handed on as views. A length past `max_frame_size` is reported when the header is read, before any of the body
    is kept.
    """

    __slots__ = ("_flags", "_max_frame_size", "_padding_left", "_partial", "_rest", "_stream_id", "position")

    def __init__(self, max_frame_size: int = DEFAULT_MAX_FRAME_SIZE) -> None:
        self.position = 0
        """Bytes of the fed buffer up to the end of the last piece: where a caller that stops early goes on."""
        self._max_frame_size = max_frame_size
        self._partial = bytearray()  # the start of a header, or of a frame that is not DATA, that a read cut off
        self._rest = 0  # bytes of the current DATA frame that are still to come
        self._padding_left = 0  # so many of them, at the end, are padding
        self._flags = 0
        self._stream_id = 0

    @property
    def mid_frame(self) -> bool:
        """Whether the bytes so far end inside a frame."""
        return bool(self._partial or self._rest)

    def feed(self, data: Buffer) -> Iterator[Piece]:
        """Yield the pieces that `data` completes or carries. Raises ProtocolError for a frame that is too large, or
        whose padding is.

        Exhaust the iterator before feeding more; or stop after a piece, and feed the bytes from `position` on next.
        """
        view = memoryview(data)
        end = len(view)
        pos = 0
        if self._partial:
            pos, piece = self._resume(view)
            if piece is not None:
                self.position = pos
                yield piece
        if self._rest and pos < end:
            piece = self._payload(view, pos, 0)
            pos = self.position
            yield piece
        unpack = HEADER.unpack_from
        most = self._max_frame_size
        while end - pos >= HEADER_SIZE:
            head, flags, stream_id = unpack(view, pos)
            length = head >> 8
            if length > most:
                raise wrong_size(head & 0xFF, length, f"at most {most}")
            stream_id &= MASK_31
            start = pos + HEADER_SIZE
            stop = start + length
            if head & 0xFF:  # any type but DATA
                if stop > end:
                    break
                self.position = pos = stop
                yield head & 0xFF, flags, stream_id, view[start:stop].tobytes(), 0, 0
            elif flags & PADDED:
                if start == end and length:
                    break  # the length of the padding is not there yet
                piece = self._padded(view, start, flags, stream_id, length)
                pos = self.position
                yield piece
            elif stop <= end:
                self.position = pos = stop
                yield DATA, flags, stream_id, view[start:stop], 0, 0
            else:
                self._begin(flags, stream_id, length, 0)
                self.position = pos = start
                if start < end:
                    piece = self._payload(view, start, 0)
                    pos = end
                    yield piece
        if pos < end:
            self._partial += view[pos:]

    def _begin(self, flags: int, stream_id: int, rest: int, padding: int) -> None:
        self._flags = flags
        self._stream_id = stream_id
        self._rest = rest
        self._padding_left = padding

    def _payload(self, view: memoryview, pos: int, extra: int) -> Piece:
        """As much of the current DATA frame as there is. `extra`: bytes before it that count as padding."""
        stop = min(pos + self._rest, len(view))
        payload_end = min(pos + self._rest - self._padding_left, stop)
        body = view[pos:payload_end] if payload_end > pos else _EMPTY
        self._rest -= stop - pos
        self._padding_left = min(self._padding_left, self._rest)
        self.position = stop
        return DATA, self._flags, self._stream_id, body, self._rest, extra + stop - pos - len(body)

    def _padded(self, view: memoryview, start: int, flags: int, stream_id: int, length: int) -> Piece:
        """The first piece of a padded DATA frame, whose payload begins with the length of its padding."""
        if not length:
            raise wrong_size(DATA, 0, "at least 1, as it says that it is padded")
        padding = view[start]
        check_padding(DATA, padding, length)
        self._begin(flags, stream_id, length - 1, padding)
        return self._payload(view, start + 1, 1)

    def _resume(self, view: memoryview) -> tuple[int, Piece | None]:
        """Complete the header or the frame that an earlier read cut off. Returns how much of `view` is used up, and the
        piece, or None if that is still not whole."""
        partial = self._partial
        pos = self._top_up(HEADER_SIZE, view, 0)
        if len(partial) < HEADER_SIZE:
            return pos, None
        head, flags, stream_id = HEADER.unpack_from(partial)
        length, kind = head >> 8, head & 0xFF
        stream_id &= MASK_31
        if length > self._max_frame_size:
            raise wrong_size(kind, length, f"at most {self._max_frame_size}")
        if kind == DATA:
            return self._resume_data(view, pos, flags, stream_id, length)
        pos = self._top_up(HEADER_SIZE + length, view, pos)
        if len(partial) < HEADER_SIZE + length:
            return pos, None
        self._partial = bytearray()
        return pos, (kind, flags, stream_id, bytes(partial[HEADER_SIZE:]), 0, 0)

    def _resume_data(
        self, view: memoryview, pos: int, flags: int, stream_id: int, length: int
    ) -> tuple[int, Piece | None]:
        if not flags & PADDED:
            self._partial = bytearray()
            self._begin(flags, stream_id, length, 0)
            return pos, None if length else (DATA, flags, stream_id, _EMPTY, 0, 0)
        if pos == len(view) and length:
            return pos, None
        self._partial = bytearray()
        piece = self._padded(view, pos, flags, stream_id, length)
        return self.position, piece

    def _top_up(self, size: int, view: memoryview, pos: int) -> int:
        missing = size - len(self._partial)
        if missing <= 0:
            return pos
        self._partial += view[pos : pos + missing]
        return min(pos + missing, len(view))

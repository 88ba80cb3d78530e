"""The bytes that are sent, and comparing those that come with them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from .._errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHUNK", "Pattern", "WrongData"]

PERIOD: Final = 64 * 1024
"""Bytes after which the pattern repeats itself: small enough to stay in a processor's cache."""
CHUNK: Final = 256 * 1024
"""Bytes that are sent and compared at once; a session hands over no more at a time."""
STEP: Final = 4099
"""Streams begin so many bytes apart in the pattern, so that bytes of another stream are seen to be wrong."""

# Nothing on the way can compress it, and it is the same at both ends: SHAKE-256 of that text is part of the protocol.
# bytes.startswith compares with it in place, at the speed of memory. Two memoryviews are compared byte by byte, which
# would take longer than the session needs to carry them.
_BYTES: Final = hashlib.shake_256(b"muxpy bench").digest(PERIOD) * (1 + CHUNK // PERIOD)
_VIEW: Final = memoryview(_BYTES)


class WrongData(Failure):
    """What came is not what was sent."""


class Pattern:
    """One direction of a stream, from its beginning."""

    def __init__(self, stream_id: int) -> None:
        self._first = stream_id * STEP
        self.position = 0
        """Bytes that have been taken or checked."""

    def take(self, count: int) -> memoryview:
        """The next bytes to send, at most CHUNK."""
        start = (self._first + self.position) % PERIOD
        view = _VIEW[start : start + min(count, CHUNK)]
        self.position += len(view)
        return view

    def chunks(self, size: int | None) -> Iterator[memoryview]:
        """All bytes to send, up to `size`; None: without end."""
        while size is None or self.position < size:
            yield self.take(CHUNK if size is None else size - self.position)

    def check(self, data: bytes | bytearray) -> None:
        """Compare what has come next; raises WrongData."""
        for begin in range(0, len(data), CHUNK):
            part = data[begin : begin + CHUNK]  # all of it, without a copy, unless there is more
            start = (self._first + self.position) % PERIOD
            if not _BYTES.startswith(part, start):
                raise WrongData(f"wrong data: something differs in the {len(part)} bytes after byte {self.position}")
            self.position += len(part)

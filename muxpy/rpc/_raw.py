"""Streams that are arguments and results themselves: they and the calls that name them come in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from muxpy import ErrorCode

from ._errors import InvalidArgument

if TYPE_CHECKING:
    from muxpy import Stream

__all__ = ["RawStreams"]

PATIENCE: Final = 10.0
"""Seconds for which a stream waits for the call that names it, and a call for the stream that it names."""


class _Raw:
    """A stream, and a call that names it, whichever comes first."""

    __slots__ = ("arrived", "named", "stream", "taken")

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.named = False
        self.arrived = trio.Event()
        self.taken = trio.Event()


class RawStreams:
    """Those that the other side of a session has opened."""

    def __init__(self) -> None:
        self._raw: dict[int, _Raw] = {}

    async def take(self, stream_id: int) -> Stream:
        """The stream with this id. Raises InvalidArgument if it does not come, or if another call has named it."""
        raw = self._raw.setdefault(stream_id, _Raw())
        if raw.named:
            raise InvalidArgument(f"two calls name stream {stream_id}")
        raw.named = True
        try:
            with trio.move_on_after(PATIENCE):
                await raw.arrived.wait()
        finally:
            del self._raw[stream_id]
        if raw.stream is None:
            raise InvalidArgument(f"a call names stream {stream_id}, which was not opened")
        raw.taken.set()
        return raw.stream

    async def keep(self, stream: Stream) -> None:
        """Keep a stream until a call names it, and then until it has ended."""
        raw = self._raw.setdefault(stream.id, _Raw())
        raw.stream = stream
        raw.arrived.set()
        try:
            with trio.move_on_after(PATIENCE):
                await raw.taken.wait()
        finally:
            if not raw.named:  # otherwise the call that names it forgets it
                del self._raw[stream.id]
        if raw.taken.is_set():
            await stream.wait_ended()
        else:
            stream.reset(ErrorCode.REFUSED_STREAM)

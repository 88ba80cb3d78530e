"""What a stream of HTTP/2 is at both ends: one message comes on it, and one is sent."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio

from muxpy.session import Stream

from ._headers import Headers, trailer_fields

if TYPE_CHECKING:
    from muxpy._http_config import Config as HttpConfig
    from muxpy.proto import StreamState
    from muxpy.proto.http2 import Connection, HttpStream
    from muxpy.session import Engine, SessionOfStream

    from ._headers import HeadersLike

__all__ = ["Message"]

MOST_QUEUED: Final = 64 * 1024
"""Bytes of frames that wait to be written, above which a head waits until some are: there is no window for heads."""


class Message(Stream):
    """A stream whose two directions are messages with fields, a body and perhaps trailers."""

    __slots__ = ("_config", "_core", "_engine_", "_state_")

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        Stream.__init__(self, session, engine, state)
        # Sessions of HTTP have no other states, cores and configs.
        self._state_: HttpStream = state  # type: ignore[assignment]
        self._engine_ = engine
        self._core: Connection = engine.core  # type: ignore[assignment]
        self._config: HttpConfig = engine.config  # type: ignore[assignment]

    @property
    def trailers(self) -> Headers | None:
        """The fields that came after the peer's body; None if there are none, or the body has not ended yet."""
        trailers = self._state_.trailers
        return None if trailers is None else Headers.of(trailers)

    @property
    def lacking(self) -> int:
        """Bytes that are still to be sent of those that a `content-length` has announced."""
        state = self._state_
        return 0 if state.announced is None or not state.phase.sends else state.announced - state.sent - state.unsent

    async def __anext__(self) -> bytes | bytearray:
        state = self._state_
        left = len(state.incoming.chunks or ())
        if left > 1 or not state.phase.peer_done or state.closed or self._receiving:
            data = await self.receive_some()
        else:
            # The message has come whole, and this is its last piece, or its end: there is one of each in an exchange,
            # so neither waits for its turn in Trio's scheduler.
            await trio.lowlevel.checkpoint_if_cancelled()
            data = self.receive_nowait() if left else b""
        if not data:
            raise StopAsyncIteration
        return data

    # ---- receiving ----

    async def read(self, most: int | None = None) -> bytes:
        """The rest of the body, whole. Raises ValueError if it has more than `most` bytes, and the exceptions of
        `Stream.receive_some`. After that, or if this is cancelled, a part of it is lost."""
        chunks: list[bytes | bytearray] = []
        size = 0
        limit = inf if most is None else most
        async for chunk in self:
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise ValueError(f"the body has more than {most} bytes")
        return b"".join(chunks)

    # ---- sending ----

    async def send_all(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """See Stream.send_all. Raises also ValueError, and sends nothing, if the body would have more bytes than its
        `content-length`, or end with fewer."""
        if self._state_.announced is not None:
            self._check_length(memoryview(data).nbytes, end=end)
        await Stream.send_all(self, data, end=end)

    def send_nowait(self, data: bytes | bytearray) -> None:
        """See Stream.send_nowait. Raises also ValueError for more bytes than the `content-length`."""
        self._check_length(len(data), end=False)
        Stream.send_nowait(self, data)

    async def send_eof(self) -> None:
        """See Stream.send_eof. Raises also ValueError for a body with fewer bytes than its `content-length`."""
        self._check_length(0, end=True)
        await Stream.send_eof(self)

    async def finish(self, trailers: HeadersLike = ()) -> None:
        """End the body, with trailers if there are any.

        Raises ValueError for fields that cannot be sent, and for a body with fewer bytes than its `content-length`; and
        the exceptions of `Stream.send_eof`.
        """
        fields = trailer_fields(trailers)
        self._check_length(0, end=True)
        if fields and not self._ended_sending:
            await self._room_for_head()
        await self._end(fields)

    def _check_length(self, count: int, *, end: bool) -> None:
        """Whether `count` bytes more are in order with the `content-length` of the message."""
        announced = self._state_.announced
        if announced is None or not self._sendable():
            return
        left = self.lacking - count
        if left < 0:
            raise ValueError(f"the body has more bytes than its content-length, {announced}")
        if end and left:
            raise ValueError(f"the body ends after {announced - left} bytes; its content-length is {announced}")

    async def _room_for_head(self) -> None:
        """Wait until the peer has read so much that a head may be queued: heads have no window."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while len(self._core.sending.outbox.framed) > MOST_QUEUED and self._sendable():
            await self._engine_.writer.next_written()
        if not self._sendable():
            raise self._not_sendable()

"""One request and its response, at a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy.proto.http2 import HttpStream
from muxpy.session import Stream

from ._headers import Headers, trailer_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import StreamState
    from muxpy.proto.http2 import ResponseHead
    from muxpy.session import Engine, SessionOfStream

    from ._headers import HeadersLike

__all__ = ["Informed", "Response"]

Informed = "Callable[[int, Headers], object]"
"""What is called with the status and fields of each interim response (1xx)."""


class Response(Stream):
    """The response to a request. As a `muxpy.Stream` it reads the response's body, and sends what is left of the
    request's: see `Client.open`. Leaving its block, or `aclose`, gives up what was not read.

    `async for chunk in response`, or `await response.read()`, reads the body; `trailers` are there after that.
    """

    __slots__ = ("_engine_", "_informed", "_state_")

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        super().__init__(session, engine, state)
        assert isinstance(state, HttpStream)
        self._state_ = state
        self._engine_ = engine
        self._informed: Callable[[int, Headers], object] | None = None

    def __repr__(self) -> str:
        request, answer = self._state_.request, self._state_.answer
        what = (request.path or request.authority).decode("latin-1")
        return f"<muxpy.http.Response {answer.status if answer else '...'} to {request.method.decode()} {what}>"

    @property
    def status(self) -> int:
        """Such as 200. Raises RuntimeError before the head has come: see `started`."""
        return self._head.status

    @property
    def headers(self) -> Headers:
        """The fields of the head. Raises RuntimeError before the head has come."""
        return Headers.of(self._head.fields)

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, if the server has announced them."""
        return self._head.content_length

    @property
    def trailers(self) -> Headers | None:
        """The fields after the body; None if there are none, or the body has not ended yet."""
        trailers = self._state_.trailers
        return None if trailers is None else Headers.of(trailers)

    @property
    def _head(self) -> ResponseHead:
        answer = self._state_.answer
        if answer is None:
            raise RuntimeError("the response has not begun yet: await `started`")
        return answer

    async def started(self, informed: Callable[[int, Headers], object] | None = None) -> Response:
        """Wait until the head of the response has come. Returns this object. `informed` is called with status and
        fields of each interim response (1xx) that comes before.

        Raises trio.BusyResourceError if another task is receiving, and the exceptions of `Stream.receive_some`.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            while True:
                self._inform(informed)
                if not self._is_headless():
                    break
                await self._wait_while(self._is_silent)
        finally:
            self._receiving = False
        if self._state_.answer is None:
            self._engine_.check_end(self._state_)
            raise trio.ClosedResourceError("the response has ended before its head")
        return self

    def _is_headless(self) -> bool:
        state = self._state_
        return state.answer is None and state.phase.reads and self._engine_.ending.end is None

    def _is_silent(self) -> bool:
        return not self._state_.interim and self._is_headless()

    def _inform(self, informed: Callable[[int, Headers], object] | None) -> None:
        heads, self._state_.interim = self._state_.interim, None
        if informed is not None:
            for head in heads or ():
                informed(head.status, Headers.of(head.fields))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See Stream.receive_some: the response's body."""
        if self._state_.answer is None:
            await self.started()
        return await Stream.receive_some(self, max_bytes)

    async def read(self, most: int | None = None) -> bytes:
        """The rest of the body, whole. Raises ValueError, and gives it up, if it has more than `most` bytes; and the
        exceptions of `Stream.receive_some`."""
        chunks: list[bytes | bytearray] = []
        size = 0
        async for chunk in self:
            chunks.append(chunk)
            size += len(chunk)
            if most is not None and size > most:
                self.reset()
                raise ValueError(f"the body has more than {most} bytes")
        return b"".join(chunks)

    async def finish(self, trailers: HeadersLike = ()) -> None:
        """End the request's body, with trailers if there are any. Raises ValueError for fields that cannot be sent; and
        the exceptions of `Stream.send_eof`."""
        await self._end(trailer_fields(trailers))

"""One request and its response, at a client."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from muxpy.frame.http2 import Http2Code
from muxpy.session import Stream, watched

from ._headers import Headers
from ._message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muxpy.proto import StreamState
    from muxpy.proto.http2 import ResponseHead
    from muxpy.session import Engine, SessionOfStream

__all__ = ["Response"]


class Response(Message):
    """The response to a request. As a `muxpy.Stream` it reads the response's body, and sends what is left of the
    request's: see `Client.open`. Leaving its block, or `aclose`, gives up what was not read.

    `async for chunk in response`, or `await response.read()`, reads the body; `trailers` are there after that.
    """

    __slots__ = ("_failure",)

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        super().__init__(session, engine, state)
        self._failure: Exception | None = None  # of the request's body

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
            if self._is_headless():
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await trio.lowlevel.checkpoint()
            self._inform(informed)
            while self._is_headless():
                await self._wait_while(self._is_silent)
                self._inform(informed)
        finally:
            self._receiving = False
        if self._state_.answer is None:
            self._check_end()
        return self

    @property
    def sends(self) -> bool:
        """Whether more of the request can be sent."""
        return self._sendable()

    def sent_now(self, body: bytes) -> bool:
        """Send the whole body of the request, if it is so small that it goes with the head. Returns whether it was."""
        if not self._sendable() or not self._engine_.writer.send_small(self._state_, body, True):
            return False
        self._engine_.finish(self._state_)
        return True

    @contextmanager
    def while_it_lasts(self) -> Iterator[None]:
        """Run a block that is cancelled when the stream is over."""
        scope = trio.CancelScope()
        with scope, watched(self._engine_, self._state_, lambda _: scope.cancel()):
            yield

    def fail(self, error: Exception) -> None:
        """The request's body cannot go on: whoever waits for the response learns why."""
        self._failure = error.with_traceback(None)  # its frames would keep this stream alive
        self.reset(Http2Code.INTERNAL_ERROR)

    def _check_end(self) -> None:
        """Nothing is left to receive: raise the error that says why, unless the server has ended its direction."""
        if self._failure is not None:
            raise trio.BrokenResourceError("the request's body failed") from self._failure
        self._engine_.check_end(self._state_)

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
        try:
            return await Stream.receive_some(self, max_bytes)
        except trio.ClosedResourceError:
            self._check_end()
            raise

    async def read(self, most: int | None = None) -> bytes:
        """The rest of the body, whole. Raises ValueError if it has more than `most` bytes, and the exceptions of
        `Stream.receive_some`. After that, or if this is cancelled, the response is given up, since a part of it is
        lost."""
        try:
            return await Message.read(self, most)
        except trio.BusyResourceError:
            raise  # it is the other task's to read
        except BaseException:
            self.reset()
            raise

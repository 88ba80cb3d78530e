"""One request and its response, at a server."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import trio

from muxpy.frame.http2 import Http2Code
from muxpy.proto import Opening
from muxpy.proto.http2 import HttpStream
from muxpy.session import Stream

from ._headers import Headers, as_fields, trailer_fields
from ._request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket as PlainSocket

    from muxpy.proto import Fields, StreamState
    from muxpy.proto.http2 import Connection
    from muxpy.session import Engine, Pacer, SessionOfStream

    from ._headers import HeadersLike

__all__ = ["Exchange"]

MOST_QUEUED: Final = 64 * 1024
"""Bytes of frames that wait to be written, above which a head waits until some are: there is no window for heads."""

_BODILESS: Final = (204, 304)
_CONTINUE: Final = ((b":status", b"100"),)

MOST_KEPT: Final = 256
_heads: dict[tuple[int, Fields, int | None, bytes], Fields] = {}
"""Heads as they are sent: most programs send the same ones again and again."""

_second, _written_date = 0, b""


class Exchange(Stream):
    """A request and its response. As a `muxpy.Stream` it reads the request's body and sends that of the response.

    Answer by `respond`, or by `start`, then `send_all` or `splice`, and `send_eof` or `finish`. To CONNECT, which asks
    for a tunnel, answer by `start(200)`: then it is a stream of bytes in both directions.
    """

    __slots__ = ("_asked", "_core", "_dated", "_engine_", "_request", "_state_")

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        super().__init__(session, engine, state)
        assert isinstance(state, HttpStream)
        self._state_ = state
        self._engine_ = engine
        self._core: Connection = engine.core  # type: ignore[assignment] # sessions of HTTP have no other
        self._request = Request(state.request)
        self._dated = getattr(engine.config, "send_date", True)
        self._asked = False  # for the body, by 100

    def __repr__(self) -> str:
        return f"<muxpy.http.Exchange {self.id} {self._request.method} of {self.session!r}>"

    @property
    def request(self) -> Request:
        """What the client asks for."""
        return self._request

    @property
    def trailers(self) -> Headers | None:
        """The fields after the request's body; None if there are none, or the body has not ended yet."""
        trailers = self._state_.trailers
        return None if trailers is None else Headers.of(trailers)

    @property
    def answerable(self) -> bool:
        """Whether a response can still be begun: none has, and the client has not given up."""
        return not self._state_.answered and self._sendable()

    # ---- the response ----

    async def respond(
        self, status: int = 200, headers: HeadersLike = (), body: bytes = b"", *, trailers: HeadersLike = ()
    ) -> None:
        """Send a whole response, in as few writes as possible. `content-length` is added, unless it is there or there
        are trailers. The response to HEAD, and those with 204 and 304, are sent without the body.

        Raises ValueError for a status or fields that cannot be sent; and the exceptions of `Stream.send_all`.
        """
        bodiless = status in _BODILESS or self._state_.request.method == b"HEAD"
        told = not trailers and status != 204 and (body or status != 304)
        fields = _head_of(status, headers, len(body) if told else None, date=self._dated)
        ends = not trailers and (bodiless or not body)
        await self._send_head(fields, None if bodiless else len(body), end=ends)
        if ends:
            await self._sent_head()
            return
        if body and not bodiless:
            await Stream.send_all(self, body, end=not trailers)
        if trailers:
            await self.finish(trailers)

    async def start(self, status: int = 200, headers: HeadersLike = ()) -> None:
        """Send the head of a response whose body follows. With a `content-length`, that many bytes must follow. It is
        written together with what is sent next, if that comes soon.

        Raises ValueError for a status or fields that cannot be sent, RuntimeError if the head was sent before; and the
        exceptions of `Stream.send_all`.
        """
        bodiless = status in _BODILESS or self._state_.request.method == b"HEAD"
        fields = _head_of(status, headers, None, date=self._dated)
        length = None if bodiless else announced_length(fields)
        await self._send_head(fields, length, end=bodiless)
        await self._sent_head()

    async def inform(self, status: int, headers: HeadersLike = ()) -> None:
        """Send an interim response, such as 103 (Early Hints), before the final one. 101 cannot be sent (RFC 9113,
        8.6); 100 is sent by itself when the body is first read.

        Raises ValueError for another status, RuntimeError after the final head.
        """
        if not 100 <= status < 200 or status == 101:
            raise ValueError(f"the status of an interim response lies between 102 and 199, or is 100; not {status!r}")
        fields = ((b":status", b"%d" % status), *as_fields(headers))
        self._check_unanswered()
        await self._room_for_head()
        self._core.send_interim(self._state_, fields)
        await self._sent_head()

    async def finish(self, trailers: HeadersLike = ()) -> None:
        """End the response, with trailers if there are any.

        Raises ValueError for fields that cannot be sent, RuntimeError before the head; and the exceptions of
        `Stream.send_eof`.
        """
        self._check_started()
        fields = trailer_fields(trailers)
        if not fields:
            await Stream.send_eof(self)
            return
        await self._room_for_head()
        await self._end(fields)

    # ---- the stream ----

    async def send_all(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """See Stream.send_all. Raises also ValueError for more than `content-length` has announced, and RuntimeError
        before `start`."""
        self._check_room_for(data)
        await Stream.send_all(self, data, end=end)

    def send_nowait(self, data: bytes | bytearray) -> None:
        """See Stream.send_nowait. Raises also what `send_all` does."""
        self._check_room_for(data)
        Stream.send_nowait(self, data)

    async def send_eof(self) -> None:
        """See Stream.send_eof. Raises also RuntimeError before `start`."""
        self._check_started()
        await Stream.send_eof(self)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See Stream.receive_some. A client that waits for it is told to send the body (100, Continue)."""
        if self._state_.request.expects_continue:
            self._continue()
        return await Stream.receive_some(self, max_bytes)

    def receive_nowait(self, max_bytes: int | None = None) -> bytes:
        """See Stream.receive_nowait, and `receive_some`."""
        if self._state_.request.expects_continue:
            self._continue()
        return Stream.receive_nowait(self, max_bytes)

    async def splice(
        self,
        socket: trio.SocketStream | PlainSocket,
        *,
        early: bytes = b"",
        head: Callable[[bytes], bytes | None] | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        """See Stream.splice. Raises also RuntimeError before `start`. If the socket of a tunnel breaks, the client is
        told so (CONNECT_ERROR)."""
        self._check_started()
        try:
            await Stream.splice(self, socket, early=early, head=head, pacer=pacer)
        except trio.BrokenResourceError:
            if self._state_.tunnel:
                self.reset(Http2Code.CONNECT_ERROR)  # does nothing if it is this stream that has broken
            raise

    def start_splice(
        self,
        socket: trio.SocketStream | PlainSocket,
        *,
        early: bytes = b"",
        head: Callable[[bytes], bytes | None] | None = None,
        pacer: Pacer | None = None,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        """See Stream.start_splice. Raises also RuntimeError before `start`. If the socket of a tunnel breaks, it is up
        to the caller to reset the stream with CONNECT_ERROR."""
        self._check_started()
        Stream.start_splice(self, socket, early=early, head=head, pacer=pacer, on_end=on_end)

    # ---- push ----

    async def push(self, path: str, headers: HeadersLike = (), *, method: str = "GET") -> bool:
        """Promise the client the response to a request that it has yet to make; the handler is run for that as for any
        request. Returns False if the client takes none: browsers do not any more. Call it before the response refers to
        `path` (RFC 9113, 8.4).

        Raises ValueError for a method other than GET and HEAD, and for fields that cannot be sent; and the exceptions
        of `Stream.send_all`.
        """
        if method not in ("GET", "HEAD"):
            raise ValueError(f"only GET and HEAD can be pushed, not {method!r}")
        state, core = self._state_, self._core
        if core.is_local(state.id):
            raise RuntimeError("this exchange was pushed itself: only what a client has asked for can bring more")
        request = state.request
        pseudo = (b":method", method.encode()), (b":scheme", request.scheme), (b":authority", request.authority)
        fields = (*pseudo, (b":path", path.encode("latin-1")), *as_fields(headers))
        await self._room_for_head()
        if not core.takes_push:
            return False
        core.check_opening(Opening(head=fields))
        self._engine_.backlog.add(core.push(state, fields))
        self._engine_.acted()
        return True

    # ---- heads ----

    def _check_started(self) -> None:
        if not self._state_.answered and not self._state_.closed:
            raise RuntimeError("the response has not begun yet: call `start` or `respond`")

    def _check_room_for(self, data: bytes | bytearray | memoryview) -> None:
        self._check_started()
        state = self._state_
        if state.announced is not None and state.sent + state.unsent + memoryview(data).nbytes > state.announced:
            raise ValueError(f"the response has more bytes than its content-length, {state.announced}")

    def _check_unanswered(self) -> None:
        if self._state_.answered:
            raise RuntimeError("the final head of the response was sent already")

    async def _room_for_head(self) -> None:
        """Wait until the peer has read so much that a head may be queued: heads have no window."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._sendable() and len(self._core.sending.outbox.framed) > MOST_QUEUED:
            await self._engine_.writer.next_written()
        if not self._sendable():
            raise self._not_sendable()

    async def _send_head(self, fields: Fields, length: int | None, *, end: bool) -> None:
        self._check_unanswered()
        await self._room_for_head()
        self._core.send_head(self._state_, fields, end=end, length=length)

    async def _sent_head(self) -> None:
        """Have it written soon, together with what comes in the same moment."""
        self._engine_.acted()
        state = self._state_
        if state.phase.over and state.handle is not None:
            state.handle.ended()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _continue(self) -> None:
        state = self._state_
        if not self._asked and not state.answered and state.phase.reads and not state.incoming.buffered:
            self._core.send_interim(state, _CONTINUE)
            self._engine_.acted()
        self._asked = True


# ---- fields ----


def _head_of(status: int, headers: HeadersLike, length: int | None, *, date: bool) -> Fields:
    """The fields of a response's head."""
    fields = as_fields(headers)
    key = status, fields, length, _date() if date else b""
    head = _heads.get(key)
    if head is None:
        if len(_heads) >= MOST_KEPT:
            _heads.clear()
        head = _heads[key] = _make_head(*key)
    return head


def _make_head(status: int, fields: Fields, length: int | None, date: bytes) -> Fields:
    if not isinstance(status, int) or not 200 <= status < 600:
        raise ValueError(f"the status of a response lies between 200 and 599, not {status!r}")
    names = {name for name, _ in fields}
    added: list[tuple[bytes, bytes]] = [(b":status", b"%d" % status)]
    if length is not None and b"content-length" not in names:
        added.append((b"content-length", b"%d" % length))
    if date and b"date" not in names:
        added.append((b"date", date))
    return (*added, *fields)


def announced_length(fields: Fields) -> int | None:
    """The content-length of a head that was checked."""
    return next((int(value) for name, value in fields if name == b"content-length"), None)


def _date() -> bytes:
    """Now, for a `date` field."""
    global _second, _written_date
    now = int(time.time())
    if now != _second:
        _second = now
        _written_date = formatdate(now, usegmt=True).encode()
    return _written_date

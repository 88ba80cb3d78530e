"""One request and its response, at a server."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import trio

from muxpy.frame.http2 import Http2Code
from muxpy.proto import Opening
from muxpy.session import SMALL, Stream

from ._headers import Headers, as_bytes, as_fields, is_small, trailer_fields
from ._message import Message
from ._request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket as PlainSocket

    from muxpy._http_config import Config as HttpConfig
    from muxpy.proto import Fields, StreamState
    from muxpy.session import Engine, Pacer, SessionOfStream

    from ._headers import HeadersLike, Text

__all__ = ["Exchange", "has_ended"]

OF_BODIES: Final = {"content-length", "content-encoding", "expect", "te", "trailer", "host"}
"""What a request that is pushed cannot have: it has no body (RFC 9113, 8.4.1). Go's server has the same list."""

_BODILESS: Final = (204, 304)
_CONTINUE: Final = ((b":status", b"100"),)

MOST_KEPT: Final = 256
_heads: dict[tuple[int, tuple[tuple[Text, Text], ...], int | None, bytes], Fields] = {}
"""Heads as they are sent, by what they are made of: most programs send the same ones again and again."""

_second, _written_date = 0, b""


class Exchange(Message):
    """A request and its response. As a `muxpy.Stream` it reads the request's body and sends that of the response.

    Answer by `respond`, or by `start`, then `send_all` or `splice`, and `send_eof` or `finish`. To CONNECT, which asks
    for a tunnel, answer by `start(200)`: then it is a stream of bytes in both directions. `trailers` are those of the
    request.
    """

    __slots__ = ("_asked", "_bodiless")

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        Message.__init__(self, session, engine, state)
        self._asked = False  # for the body, by 100
        self._bodiless = False  # the response has ended with its head

    def __repr__(self) -> str:
        return f"<muxpy.http.Exchange {self.id} {self.request.method} of {self.session!r}>"

    @property
    def request(self) -> Request:
        """What the client asks for."""
        return Request(self._state_.request)

    @property
    def answerable(self) -> bool:
        """Whether a response can still be begun: none has, and the client has not given up."""
        return not self._state_.answered and self._sendable()

    # ---- the response ----

    async def respond(
        self,
        status: int = 200,
        headers: HeadersLike = (),
        body: bytes | bytearray | memoryview = b"",
        *,
        trailers: HeadersLike = (),
    ) -> None:
        """Send a whole response, in as few writes as possible. `content-length` is added, unless it is there or there
        are trailers. The response to HEAD, and those with 204 and 304, are sent without the body. A small response is
        copied, to be written together with others of the same moment; then this does not wait for its turn in Trio's
        scheduler, since there is one response in an exchange.

        Raises ValueError for a status or fields that cannot be sent, such as a `content-length` that is not the body's,
        RuntimeError if a head was sent before; and the exceptions of `Stream.send_all`.
        """
        if trailers:
            await self._respond_with_trailers(status, headers, body, trailers)
            return
        if type(body) is not bytes:
            body = _as_bytes(body)
        state = self._state_
        size = len(body)
        if status in _BODILESS or state.request.method == b"HEAD":
            # What is not known of the body that GET would get is not said.
            told = size if size and status != 204 else None
            await self._send_head(_head_of(self._config, status, headers, told), None, end=True)
            await self._sent_head()
            return
        told = None if state.tunnel and 200 <= status < 300 else size  # RFC 9110, 8.6
        head = _head_of(self._config, status, headers, told)
        await self._room_for_final_head()
        if size > SMALL:
            self._core.send_head(state, head, length=size)
        elif self._core.respond(state, head, body):
            self._engine_.ended_small(state)
            return
        await Stream.send_all(self, body, end=True)

    async def _respond_with_trailers(
        self, status: int, headers: HeadersLike, body: bytes | bytearray | memoryview, trailers: HeadersLike
    ) -> None:
        body, fields = _as_bytes(body), trailer_fields(trailers)  # first: a head that is sent cannot be taken back
        await self.start(status, headers)
        if body:
            await self.send_all(body)
        await self.finish(Headers.of(fields))

    async def start(self, status: int = 200, headers: HeadersLike = ()) -> None:
        """Send the head of a response whose body follows. With a `content-length`, that many bytes must follow. It is
        written together with what is sent next, if that comes soon. The response to HEAD ends with it, as do those with
        204 and 304: of the body for HEAD, nothing is sent.

        Raises ValueError for a status or fields that cannot be sent, RuntimeError if the head was sent before; and the
        exceptions of `Stream.send_all`.
        """
        bodiless = status in _BODILESS or self._state_.request.method == b"HEAD"
        fields = _head_of(self._config, status, headers, None)
        length = None if bodiless else announced_length(fields)
        await self._send_head(fields, length, end=bodiless)
        self._bodiless = bodiless
        await self._sent_head()

    async def inform(self, status: int, headers: HeadersLike = ()) -> None:
        """Send an interim response, such as 103 (Early Hints), before the final one. 101 cannot be sent (RFC 9113,
        8.6); 100 is sent by itself when the body is first read.

        Raises ValueError for another status, RuntimeError after the final head.
        """
        if not 100 <= status < 200 or status == 101:
            raise ValueError(f"the status of an interim response lies between 102 and 199, or is 100; not {status!r}")
        fields = ((b":status", b"%d" % status), *as_fields(headers))
        await self._room_for_final_head()
        self._core.send_interim(self._state_, fields)
        await self._sent_head()

    async def finish(self, trailers: HeadersLike = ()) -> None:
        """End the response, with trailers if there are any.

        Raises ValueError for fields that cannot be sent, and for a body with fewer bytes than its `content-length`;
        RuntimeError before the head; and the exceptions of `Stream.send_eof`.
        """
        self._check_started()
        await Message.finish(self, trailers)

    # ---- the stream ----

    async def send_all(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """See Stream.send_all. In response to HEAD, nothing is sent.

        Raises also ValueError, and sends nothing, if the body would have more bytes than its `content-length`, or end
        with fewer, or if the status is 204 or 304; and RuntimeError before `start`.
        """
        if self._takes(data):
            await Message.send_all(self, data, end=end)
        else:
            await trio.lowlevel.checkpoint()

    def send_nowait(self, data: bytes | bytearray) -> None:
        """See Stream.send_nowait. Raises also what `send_all` does."""
        if self._takes(data):
            Message.send_nowait(self, data)

    async def send_eof(self) -> None:
        """See Stream.send_eof. Raises also ValueError for a body with fewer bytes than its `content-length`, and
        RuntimeError before `start`."""
        self._check_started()
        await Message.send_eof(self)

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
        fields = (*pseudo, (b":path", as_bytes(path)), *as_fields(headers))
        core.check_opening(Opening(head=fields))
        if wrong := {name.decode() for name, _ in fields} & OF_BODIES:
            raise ValueError(f"a request that is pushed has no body, and no {', '.join(sorted(wrong))}")
        await self._room_for_head()
        if not core.takes_push:
            return False
        self._engine_.backlog.add(core.push(state, fields))
        self._engine_.acted()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return True

    # ---- heads ----

    def _takes(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether the response has a body that the data belongs to; False if it is left out."""
        self._check_started()
        if self._bodiless and len(data) and self._state_.request.method != b"HEAD":
            raise ValueError("a response with this status has no body")
        return not self._bodiless

    def _check_started(self) -> None:
        if not self._state_.answered and not self._state_.closed:
            raise RuntimeError("the response has not begun yet: call `start` or `respond`")

    async def _room_for_final_head(self) -> None:
        state = self._state_
        if not state.answered:
            await self._room_for_head()
        if state.answered:  # before, or by another task meanwhile
            raise RuntimeError("the final head of the response was sent already")

    async def _send_head(self, fields: Fields, length: int | None, *, end: bool) -> None:
        await self._room_for_final_head()
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
            self._core.send_interim(state, _CONTINUE, counts=True)
            self._engine_.acted()
        self._asked = True


def has_ended(exchange: Exchange) -> bool:
    """Whether the response has ended, or cannot go on, since the client has given up."""
    return not exchange._state_.phase.sends


# ---- fields ----


def _head_of(config: HttpConfig, status: int, headers: HeadersLike, length: int | None) -> Fields:
    """The fields of a response's head."""
    fields = tuple(headers.items()) if type(headers) is dict else as_fields(headers)
    now = _date() if config.send_date else b""
    key = status, fields, length, now
    head = _heads.get(key)
    if head is None:
        head = _make_head(status, as_fields(fields), length, now)
        if is_small(head):
            if len(_heads) >= MOST_KEPT:
                _heads.clear()
            _heads[key] = head
    return head


def _make_head(status: int, fields: Fields, length: int | None, date: bytes) -> Fields:
    if not isinstance(status, int) or not 200 <= status < 600:
        raise ValueError(f"the status of a response lies between 200 and 599, not {status!r}")
    names = {name for name, _ in fields}
    added: list[tuple[bytes, bytes]] = [(b":status", b"%d" % status)]
    if length is not None:
        if b"content-length" not in names:
            added.append((b"content-length", b"%d" % length))
        elif (announced := announced_length(fields)) != length:
            raise ValueError(f"the body has {length} bytes; its content-length is {announced}")
    if date and b"date" not in names:
        added.append((b"date", date))
    return (*added, *fields)


def _as_bytes(body: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"a body is bytes, not {type(body).__name__}: encode text first")
    return bytes(body)


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

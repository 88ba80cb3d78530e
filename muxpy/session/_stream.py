"""One stream, as a trio.abc.HalfCloseableStream. What sends is in `_sending_half`, waiting and waking in `_waiting`."""

from __future__ import annotations

from functools import partial
from socket import socket as PlainSocket
from typing import TYPE_CHECKING, Protocol

import trio

from muxpy._codes import ErrorCode, check_code

from ._carrying import forward
from ._copying import copy_both_ways
from ._poller import has_poller
from ._sending_half import SendingHalf
from ._splice import Splice
from ._statistics import StreamStatistics, of_stream
from ._waiting import waiting_of
from ._watching import watched

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from muxpy._config import SessionConfig
    from muxpy._errors import SessionClosed, SessionEnd, StreamReset
    from muxpy.proto import StreamState
    from muxpy.transport import Address

    from ._binding import PortOrPath
    from ._carrying import Place
    from ._copying import Head
    from ._engine import Engine
    from ._group import SessionGroup
    from ._pacer import Pacer
    from ._statistics import SessionStatistics
    from ._watching import Cut

__all__ = ["SessionOfStream", "Stream"]


class SessionOfStream(Protocol):
    """The type of `Stream.session`: the public methods and attributes of Session, which describes them."""

    @property
    def config(self) -> SessionConfig: ...
    @property
    def client(self) -> bool: ...
    @property
    def local_address(self) -> Address: ...
    @property
    def remote_address(self) -> Address: ...
    @property
    def tls(self) -> ssl.SSLObject | None: ...
    @property
    def going_away(self) -> bool: ...
    @property
    def end(self) -> SessionEnd | None: ...
    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream: ...
    def open_stream_nowait(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream: ...
    async def accept_stream(self) -> Stream: ...
    def __aiter__(self) -> AsyncIterator[Stream]: ...
    async def __anext__(self) -> Stream: ...
    async def serve_streams(
        self, handler: Callable[[Stream], Awaitable[object]], *, cancel_handlers: bool = False
    ) -> None: ...
    def listener(self) -> trio.abc.Listener[Stream]: ...
    async def dial(
        self,
        host: str | bytes | None = None,
        port: int | None = None,
        *,
        happy_eyeballs_delay: float | None = None,
        local_address: str | None = None,
    ) -> Stream: ...
    async def connect_socket(self, priority: int = 0, stream_type: int = 0) -> PlainSocket: ...
    def bind(
        self, place: PortOrPath, priority: int = 0, stream_type: int = 0
    ) -> AbstractAsyncContextManager[PortOrPath]: ...
    async def forward_to(self, target: Place) -> None: ...
    def admit(self, group: SessionGroup | None = None) -> None: ...
    def allow_streams(self, most: int) -> None: ...
    def go_away(self, code: int = 0, debug: bytes = b"", *, final: bool = True) -> bool: ...
    async def wait_going_away(self) -> None: ...
    async def aclose(self, *, announce: bool = False) -> None: ...
    def kill(self, error: BaseException | None = None) -> None: ...
    async def wait_closing(self) -> None: ...
    async def wait(self) -> SessionEnd: ...
    async def __aenter__(self) -> SessionOfStream: ...
    async def __aexit__(self, *_: object) -> None: ...
    def statistics(self) -> SessionStatistics: ...
    def silence(self) -> float: ...
    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None: ...
    def report_rtt(self, seconds: float) -> None: ...


class Stream(SendingHalf):
    """A full-duplex stream of bytes inside a session. Only sessions make streams: see `Session.open_stream` and
    `Session.accept_stream`.

    It keeps the contract of trio.abc.HalfCloseableStream: one task at a time may send and one may receive; data arrives
    in order; `receive_some` returns b"" after the peer's `send_eof` or `aclose`.
    """

    __slots__ = ("__weakref__", "_receiving", "_session")

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        SendingHalf.__init__(self, engine, state)
        self._session = session
        self._receiving = False

    def __repr__(self) -> str:
        return f"<muxpy.Stream {self.id} {self._state.phase.name.lower()} of {self._session!r}>"

    @property
    def session(self) -> SessionOfStream:
        """The session that the stream belongs to."""
        return self._session

    @property
    def id(self) -> int:
        """The stream's id: odd if the client opened the stream, even if the server did."""
        return self._state.id

    @property
    def stream_type(self) -> int:
        """A number by which the opener says what the stream is for; 0 if it gave none."""
        return self._state.stream_type

    @property
    def priority(self) -> int:
        """The priority that the opener chose, 0 to 2^31-1. A higher one gets a larger share: see docs/guide.md."""
        return self._state.priority

    @property
    def local_address(self) -> Address:
        """The transport's address at this end; None if it has none."""
        return self._session.local_address

    @property
    def remote_address(self) -> Address:
        """The transport's address at the peer's end; None if it has none."""
        return self._session.remote_address

    # ---- receiving ----

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return received bytes, at most `max_bytes`, and wait if there are none. Returns b"" when the peer has ended
        its direction. If cancelled, no data is lost. Reading gives the peer window to send more (flow control).

        Raises trio.BusyResourceError if another task is receiving; trio.ClosedResourceError after `aclose` or `reset`;
        StreamReset if the stream was reset by the peer, or for a rule that the peer broke; SessionClosed if the session
        ended before the peer ended its direction: data that arrived before is returned first.
        """
        if max_bytes is not None:
            _check_max_bytes(max_bytes)
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            if self._must_wait():
                await self._wait_while(self._must_wait)
            else:
                self._engine.lead.comes_back()
                await trio.lowlevel.checkpoint()
            self._has_received = True
            return self._received(max_bytes)
        finally:
            self._receiving = False

    async def _wait_while(self, must_wait: Callable[[], bool]) -> None:
        """Wait as the receiver, as long as `must_wait` says so; it is asked each time that something has come."""
        lead, reader, state = self._engine.lead, self._engine.reader, self._state
        while True:
            if not reader.lone or not lead.free(state):
                await waiting_of(state).as_receiver()
            elif await lead.take(state, must_wait):
                break
            if not must_wait():
                break

    def receive_nowait(self, max_bytes: int | None = None) -> bytes:
        """`receive_some` without a checkpoint. Raises trio.WouldBlock if nothing has been received; otherwise the
        exceptions of `receive_some`."""
        if max_bytes is not None:
            _check_max_bytes(max_bytes)
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        if self._must_wait():
            raise trio.WouldBlock
        return self._received(max_bytes)

    def _received(self, max_bytes: int | None) -> bytes:
        state = self._state
        # Not `buffered`: after an internal error, that may count bytes which are lost.
        if not state.incoming.chunks or state.closed:
            self._engine.check_end(state)
            return b""
        data = self._engine.core.read(state, max_bytes)
        if state.incoming.unwritten:
            self._engine.writer.update_window()
        return data

    def _must_wait(self) -> bool:
        state = self._state
        # While its phase reads, the peer has not ended its direction, and the stream is neither closed nor reset.
        return not state.incoming.buffered and state.phase.reads and self._engine.ending.end is None

    # ---- relaying ----

    async def splice(
        self,
        socket: trio.SocketStream | PlainSocket,
        *,
        early: bytes = b"",
        head: Head | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        """Join the stream to a socket, as a relay does: bytes that one receives are sent by the other, until both
        directions have ended. This is much faster than copying in two tasks: no task wakes for each chunk, and bytes
        for the socket are usually not copied. `socket`: of Trio, or one of Python's socket module, which then does not
        block any more. Backpressure passes through: a slow socket slows down the peer, and the
        socket is not read while the stream cannot send.

        When one side ends its direction (half-close), that direction is ended at the other side. Neither side is closed
        when this returns. Nobody else may use or close the socket meanwhile: cancel this instead.

        `early`: bytes that are written to the socket first. `head`, if given, takes what the stream receives first,
        such as an answer that comes ahead of the data, while bytes from the socket are sent already. It is called with
        each chunk, and with b"" at the end, and returns None until it has all that it needs; then it returns the bytes
        that it did not use, which are written after `early`. It must not wait, and what it raises ends the splice.
        `pacer`, if given, limits the rate of both directions, which includes `early` and the bytes that `head` returns.
        While bytes wait for the pacer, their sender is held up as by a full socket; a reset of either side is still
        passed on.

        Raises what `head` raises, the exceptions of `receive_some` and `send_all`, and trio.BrokenResourceError if the
        socket fails. After that, or after a cancellation, the stream can only be closed or reset. Closing it resets it,
        unless the socket had come to its end.
        """
        self._check_spliceable()
        state, withdraw = self._state, self._engine.core.sending.withdraw
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            withdraw(state)  # nothing was read from the socket: a FIN would pass for the socket's end, as below
            raise
        if not has_poller:
            try:
                await copy_both_ways(self, _as_stream(socket), early, head, pacer, ended=self._ended_sending)
            except BaseException:
                withdraw(state)
                raise
            return
        splice = self._start_splice(socket, early, head, pacer, None)
        try:
            splice.on_receivable()
            await splice.wait()
        except BaseException:
            withdraw(state)  # the peer has only a part of the socket's bytes: a FIN would pass for the socket's end
            raise
        finally:
            splice.stop()
            self._sending = self._receiving = False

    def start_splice(
        self,
        socket: trio.SocketStream | PlainSocket,
        *,
        early: bytes = b"",
        head: Head | None = None,
        pacer: Pacer | None = None,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        """`splice` without a task that waits for the end, for forwarders of very many connections. `on_end` is called
        once, with the exception that `splice` would raise, or with None. By then the splice has let go of the stream
        and the socket. `reset` ends the splice early, with trio.ClosedResourceError.

        `on_end` is called in the midst of other work, perhaps before this returns: it must neither wait nor raise, and
        leaves streams and sockets alone. It may only note the end, for a task that does the rest.

        Raises trio.BusyResourceError, trio.ClosedResourceError and trio.BrokenResourceError like `splice`, and
        NotImplementedError on systems without epoll.
        """
        if not has_poller:
            raise NotImplementedError("this system has no epoll: use Stream.splice")
        self._check_spliceable()
        self._start_splice(socket, early, head, pacer, partial(self._end_splice, on_end)).on_receivable()

    async def forward_to(self, target: Place) -> None:
        """Connect to `target`, and join the stream to it until both directions have ended. `target`: a port of
        127.0.0.1, a pair of host and port, or the path of a Unix socket. It is for streams that the peer has opened, in
        a handler of `serve_streams`, and the peer's end may be `Session.bind` or `Session.connect_socket`.

        Half-close and backpressure pass through, and a reset of one side resets the other. If the target refuses, or
        takes more than 10 seconds, the stream is reset with REFUSED_STREAM, which the peer may retry, and the log says
        why. After the session's end, the target still gets what had arrived. Raises nothing but trio.Cancelled.
        """
        await forward(self, target)

    def _end_splice(self, on_end: Callable[[BaseException | None], None], splice: Splice) -> None:
        error = splice.error
        splice.stop()
        self._sending = self._receiving = False
        if error is not None:
            self._engine.core.sending.withdraw(self._state)  # as in `splice`
        on_end(error)

    def _check_spliceable(self) -> None:
        if self._sending or self._receiving:
            raise trio.BusyResourceError("another task is using this stream")
        if self._state.cut_short and not self._sendable():
            raise self._not_sendable()

    def _start_splice(
        self,
        socket: trio.SocketStream | PlainSocket,
        early: bytes,
        head: Head | None,
        pacer: Pacer | None,
        on_end: Callable[[Splice], None] | None,
    ) -> Splice:
        if isinstance(socket, PlainSocket):
            socket.setblocking(False)
        one = socket if isinstance(socket, PlainSocket) else socket.socket
        splice = Splice(self._engine, self._state, self._waiting, one, early, head, pacer, on_end)
        splice.start()
        self._sending = self._receiving = True
        return splice

    # ---- ending ----

    async def aclose(self) -> None:
        """Close the stream. The peer reads what was sent, then b"". Data that the peer still sends is answered by a
        reset (CANCEL), and data that was received but not read is dropped.

        If this is called under cancellation, or if the last `send_all` was cut short, the stream is reset with CANCEL
        instead, so that the peer does not take the part that it has for the whole. Raises nothing but trio.Cancelled.
        """
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            self._engine.end_stream(self._state, ErrorCode.CANCEL)
            raise
        self._engine.end_stream(self._state, None)
        self._engine.lead.comes_back()
        await trio.lowlevel.checkpoint()

    def reset(self, code: int = ErrorCode.CANCEL) -> None:
        """End both directions immediately with an RST. At the peer, operations on the stream fail with this error code.

        Unread data is lost on both sides. Does nothing if the stream is closed or has ended. Raises ValueError for a
        code below 0 or above 2^32-1.
        """
        check_code(code)
        self._engine.end_stream(self._state, code)

    async def wait_ended(self) -> StreamReset | SessionClosed | None:
        """Wait until the stream is over. Returns the StreamReset or SessionClosed that cut it short, or None if both
        directions ended in order, or if this side closed or reset the stream.

        It is for a task that computes, and would not learn otherwise that nobody waits for the result. The peer's EOF
        alone does not end the stream: this side may still answer. Any number of tasks may wait here, and other tasks
        may use the stream meanwhile. Raises nothing but trio.Cancelled.
        """
        over = trio.Event()
        cut: Cut = None

        def tell(by: Cut) -> None:
            nonlocal cut
            cut = by
            over.set()

        with watched(self._engine, self._state, tell):
            await over.wait()
        return cut

    def statistics(self) -> StreamStatistics:
        """The stream's counters, windows and sizes at this moment. Cheap: a few microseconds."""
        return of_stream(self._state, self._engine.clock())


def _check_max_bytes(max_bytes: int) -> None:
    if not isinstance(max_bytes, int):
        raise TypeError("max_bytes must be an integer or None")
    if max_bytes < 1:
        raise ValueError("max_bytes must be at least 1")


def _as_stream(socket: trio.SocketStream | PlainSocket) -> trio.SocketStream:
    if isinstance(socket, PlainSocket):
        return trio.SocketStream(trio.socket.from_stdlib_socket(socket))
    return socket

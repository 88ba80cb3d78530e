"""One stream, as a trio.abc.HalfCloseableStream: conflicts and errors. Who waits for what is in _waiting."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

import trio

from muxpy._codes import ErrorCode, check_code
from muxpy._errors import SessionClosed, StreamReset

from ._copying import copy_both_ways
from ._engine import reset_error
from ._poller import has_poller
from ._splice import Splice
from ._statistics import StreamStatistics, of_stream
from ._waiting import Waiting
from ._watching import watched

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from muxpy._config import SessionConfig
    from muxpy._errors import SessionEnd
    from muxpy.proto import StreamState
    from muxpy.transport import Address

    from ._engine import Engine
    from ._group import SessionGroup
    from ._pacer import Pacer
    from ._statistics import SessionStatistics
    from ._watching import Cut

__all__ = ["SessionOfStream", "Stream"]


class SessionOfStream(Protocol):
    """What `Stream.session` has: all that a Session has, where it is described."""

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
    def admit(self, group: SessionGroup | None = None) -> None: ...
    def allow_streams(self, most: int) -> None: ...
    def go_away(self, code: int = 0, debug: bytes = b"", *, final: bool = True) -> bool: ...
    async def wait_going_away(self) -> None: ...
    async def aclose(self, *, announce: bool = False) -> None: ...
    def kill(self, error: BaseException | None = None) -> None: ...
    async def wait(self) -> SessionEnd: ...
    async def __aenter__(self) -> SessionOfStream: ...
    async def __aexit__(self, *_: object) -> None: ...
    def statistics(self) -> SessionStatistics: ...
    def silence(self) -> float: ...
    def report_rtt(self, seconds: float) -> None: ...


class Stream(trio.abc.HalfCloseableStream):
    """A full-duplex stream of bytes inside a session. Made by the session, never directly.

    It keeps the contract of trio.abc.HalfCloseableStream: one task at a time may send and one may receive;
    data comes in order; `receive_some` returns b"" after the peer's `send_eof` or `aclose`.
    """

    __slots__ = ("__weakref__", "_engine", "_receiving", "_sending", "_session", "_state", "_waiting")

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        self._session = session
        self._engine = engine
        self._state = state
        self._sending = False
        self._receiving = False
        # The state knows who waits, and who waits knows no stream: so none is left to the cycle collector.
        state.handle = self._waiting = Waiting()

    def __repr__(self) -> str:
        return f"<muxpy.Stream {self.id} {self._state.phase.name.lower()} of {self._session!r}>"

    @property
    def session(self) -> SessionOfStream:
        """The session that it belongs to."""
        return self._session

    @property
    def id(self) -> int:
        """The stream's id: odd if the client opened it, even if the server did."""
        return self._state.id

    @property
    def stream_type(self) -> int:
        """The number its opener gave it to say what it is for; 0 if none was given."""
        return self._state.stream_type

    @property
    def priority(self) -> int:
        """Its opener's priority, 0 to 2^31-1. More gets a larger share: see docs/guide.md."""
        return self._state.priority

    @property
    def local_address(self) -> Address:
        """This end's address of the session's transport; None if it has none."""
        return self._session.local_address

    @property
    def remote_address(self) -> Address:
        """The peer's address of the session's transport; None if it has none."""
        return self._session.remote_address

    # ---- sending ----

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; returns when its last byte has been handed to the transport. A small message may be
        copied instead, to go with what other tasks send in the same turn of the scheduler.

        If cancelled, any part of it may have been sent. The stream can then only be closed, and closing it resets
        it, so that the peer does not take the part for the whole.

        Raises: trio.BusyResourceError if another task is sending; trio.ClosedResourceError after `send_eof`,
        `aclose` or `reset`; StreamReset if the peer reset the stream; SessionClosed if the session ended.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if not self._sendable():
            raise self._not_sendable()
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if not isinstance(data, (bytes, bytearray)):
                # Released on the way out: a traceback that is kept would keep the caller's buffer from resizing.
                with _as_bytes(data) as view:
                    await self._send(view)
            elif data and self._engine.writer.send_small(self._state, data):
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                with memoryview(data) as view:
                    await self._send(view)
        except trio.Cancelled:
            # Whether nothing of it was sent or all in the last moment: the sender breaks off, and what the peer has may
            # be a part of what was to come.
            if len(data):
                self._engine.core.sending.withdraw(self._state)
            raise
        finally:
            self._sending = False

    async def _send(self, view: memoryview) -> None:
        writer, waiting = self._engine.writer, self._waiting
        waiting.unsent = bool(view)
        try:
            if view:
                writer.send(self._state, view)
            if not waiting.unsent:
                await trio.lowlevel.cancel_shielded_checkpoint()
            while waiting.unsent:
                await waiting.as_sender()
                if waiting.unsent and not self._sendable():
                    raise self._not_sendable()
        finally:
            if waiting.unsent:
                waiting.unsent = False
                writer.withdraw(self._state)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the send window is open. Raises like `send_all`."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if not self._sendable():
                    raise self._not_sendable()
                if self._state.outgoing.window > 0:
                    break
                await self._waiting.as_sender()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """End this direction: the peer reads what was sent, then b"". This side can still receive.

        Calling it again does nothing. Raises like `send_all`.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if not self._sendable() and not self._ended_sending:
            raise self._not_sendable()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._engine.finish(self._state)
        await trio.lowlevel.cancel_shielded_checkpoint()

    @property
    def _ended_sending(self) -> bool:
        state = self._state
        return not state.closed and state.reset_code is None and not state.phase.sends

    def _sendable(self) -> bool:
        # Not closed and not reset either: those end the phase.
        state = self._state
        return state.phase.sends and not state.outgoing.cut_short and self._engine.ending.end is None

    def _not_sendable(self) -> Exception:
        """Why not."""
        state, end = self._state, self._engine.ending.end
        if state.closed:
            return trio.ClosedResourceError("this stream was closed")
        if state.reset_code is not None:
            return reset_error(state)
        if not state.phase.sends:
            return trio.ClosedResourceError("send_eof was called on this stream")
        if end is not None:
            return SessionClosed(end)
        return trio.BrokenResourceError("an earlier send_all or splice was cancelled: the stream can only be closed")

    # ---- receiving ----

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return received bytes, at most `max_bytes`, waiting if there are none; b"" once the peer has ended its
        direction. If cancelled, nothing is lost.

        Raises: trio.BusyResourceError if another task is receiving; trio.ClosedResourceError after `aclose` or
        `reset`; StreamReset if the peer reset the stream; SessionClosed if the session ended before the peer
        ended its direction (what had arrived before is returned first).
        """
        if max_bytes is not None:
            _check_max_bytes(max_bytes)
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            if not self._must_wait():
                await trio.lowlevel.checkpoint()
            while self._must_wait():
                await self._waiting.as_receiver()
            state = self._state
            # Not `buffered`: an internal error may have lost what that counts.
            if not state.incoming.chunks or state.closed:
                self._engine.check_end(state)
                return b""
            data = self._engine.core.read(state, max_bytes)
            if state.incoming.increment:
                self._engine.writer.update_window()
            return data
        finally:
            self._receiving = False

    def _must_wait(self) -> bool:
        state = self._state
        # While the phase reads, the peer has not ended its direction and the stream is neither closed nor reset.
        return not state.incoming.buffered and state.phase.reads and self._engine.ending.end is None

    # ---- relaying ----

    async def splice(
        self,
        socket: trio.SocketStream,
        *,
        early: bytes = b"",
        head: Callable[[], Awaitable[bytes]] | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        """Join the stream to a socket: what either receives, the other sends, until both directions have ended. Much
        faster than copying in two tasks: no task wakes for a chunk, and bytes for the socket are not copied at all.

        An end of one side becomes the end of that direction at the other. `early` is written to the socket first.
        `head`, if given, runs before anything else is taken from the stream, while the other direction flows already:
        it may receive from the stream, and returns what it received too much, which is written after `early`.
        `pacer`, if given, says when bytes may go on, of both directions, `early` and what `head` returns among them.
        While they wait, the other side is held up as by a full socket; a reset of either side is still passed on.
        Neither side is closed at the end. Nobody else may use the socket meanwhile, nor close it: cancel this instead.

        Raises what `receive_some` and `send_all` of the stream raise, and trio.BrokenResourceError if the socket fails.
        The stream can only be reset or closed then, and so after a cancellation; closing it resets it, unless the
        socket had come to its end.
        """
        if self._sending or self._receiving:
            raise trio.BusyResourceError("another task is using this stream")
        state, waiting, withdraw = self._state, self._waiting, self._engine.core.sending.withdraw
        if state.outgoing.cut_short and not self._sendable():
            raise self._not_sendable()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            withdraw(state)  # nothing came of the socket: a FIN would pass for its end, as below
            raise
        if not has_poller:
            try:
                await copy_both_ways(self, socket, early, head, pacer, ended=self._ended_sending)
            except BaseException:
                withdraw(state)
                raise
            return
        scope = trio.CancelScope()
        splice = Splice(self._engine, state, waiting, socket.socket, pacer, scope.cancel)
        splice.start_sending()
        waiting.splice = splice
        self._sending = True
        try:
            if head is not None:
                with scope:
                    early += await head()
            self._receiving = True
            splice.start_receiving(early)
            await splice.wait()
        except BaseException:
            withdraw(state)  # what came of the socket is a part: a FIN would pass for its end
            raise
        finally:
            waiting.splice = None
            splice.stop()
            self._sending = self._receiving = False

    # ---- ending ----

    async def aclose(self) -> None:
        """End both directions for this side. The peer reads what was sent, then b""; what it still sends is
        answered by a reset (CANCEL), and what was received but not read is dropped.

        If cancelled, or if the last `send_all` was cut short, the stream is reset with CANCEL instead, so that
        the peer does not take what it has for the whole. Never raises but for cancellation.
        """
        if not self._state.closed:
            cancelled = trio.current_effective_deadline() == -inf
            self._engine.end_stream(self._state, ErrorCode.CANCEL if cancelled else None)
        await trio.lowlevel.checkpoint()

    def reset(self, code: int = ErrorCode.CANCEL) -> None:
        """End both directions immediately; the peer's operations fail with StreamReset(code).

        Unread data is lost on both sides. Does nothing to a stream that is closed or has ended.
        """
        check_code(code)
        self._engine.end_stream(self._state, code)

    async def wait_ended(self) -> StreamReset | SessionClosed | None:
        """Wait until the stream is over, and return why: the StreamReset or SessionClosed that cut it short, or None if
        both directions ended in order, or if this side closed or reset it.

        For a task that computes, and would not learn otherwise that nobody waits for the result. The peer's EOF alone
        is no end: this side may still answer. Any number of tasks may wait, and others may use the stream meanwhile.
        Never raises but for cancellation.
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
        """Counters, windows and sizes now; cheap."""
        return of_stream(self._state, self._engine.clock())


def _check_max_bytes(max_bytes: int) -> None:
    if not isinstance(max_bytes, int):
        raise TypeError("max_bytes must be an integer or None")
    if max_bytes < 1:
        raise ValueError("max_bytes must be at least 1")


def _as_bytes(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")

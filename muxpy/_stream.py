"""One stream, as a trio.abc.HalfCloseableStream: waiting, conflicts, errors."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import trio

from ._codes import ErrorCode, check_code
from ._errors import SessionClosed, StreamReset
from ._poller import has_poller
from ._splice import Splice, copy_both_ways
from ._statistics import StreamStatistics, of_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ._pacer import Pacer
    from ._session import Session
    from ._transport import Address
    from .proto import StreamState

    Watcher: TypeAlias = Callable[[StreamReset | SessionClosed | None], object]

__all__ = ["Stream"]


class Stream(trio.abc.HalfCloseableStream):
    """A full-duplex stream of bytes inside a session. Made by the session, never directly.

    It keeps the contract of trio.abc.HalfCloseableStream: one task at a time may send and one may receive;
    data comes in order; `receive_some` returns b"" after the peer's `send_eof` or `aclose`.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_receiver",
        "_receiving",
        "_sender",
        "_sending",
        "_session",
        "_splice",
        "_state",
        "_unsent",
        "_watchers",
    )

    def __init__(self, session: Session, state: StreamState) -> None:
        self._session = session
        self._state = state
        self._closed = False
        self._sending = False
        self._unsent = False  # of what send_all was given, something has not been handed to the transport yet
        self._receiving = False
        # The one task that waits in each direction. A field each, not an event: idle streams must cost little.
        self._sender: trio.lowlevel.Task | None = None
        self._receiver: trio.lowlevel.Task | None = None
        self._splice: Splice | None = None
        self._watchers: set[Watcher] | None = None  # to be told when the stream is over
        state.handle = weakref.ref(self)  # whoever waits holds the stream, and no stream is left to the cycle collector

    def __repr__(self) -> str:
        return f"<muxpy.Stream {self.id} {self._state.phase.name.lower()} of {self._session!r}>"

    @property
    def session(self) -> Session:
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
        self._check_sendable()
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if not isinstance(data, (bytes, bytearray)):
                # Released on the way out: a traceback that is kept would else keep the caller's buffer from resizing.
                with _as_bytes(data) as view:
                    await self._send(view)
            elif data and self._session._writer.send_small(self._state, data):
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                with memoryview(data) as view:
                    await self._send(view)
        except trio.Cancelled:
            # Whether nothing of it was sent or all in the last moment: the sender breaks off, and what the peer has may
            # be a part of what was to come.
            if len(data):
                self._state.cut_short = True
            raise
        finally:
            self._sending = False

    async def _send(self, view: memoryview) -> None:
        writer = self._session._writer
        self._unsent = bool(view)
        try:
            if view:
                writer.send(self._state, view)
            if not self._unsent:
                await trio.lowlevel.cancel_shielded_checkpoint()
            while self._unsent:
                await self._wait_as_sender()
                if self._unsent:
                    self._check_sendable()
        finally:
            if self._unsent:
                self._unsent = False
                writer.withdraw(self._state)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the send window is open. Raises like `send_all`."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            while self._state.send_window <= 0:
                await self._wait_as_sender()
                self._check_sendable()
        finally:
            self._sending = False

    async def _wait_as_sender(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._sender = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._sender = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def send_eof(self) -> None:
        """End this direction: the peer reads what was sent, then b"". This side can still receive.

        Calling it again does nothing. Raises like `send_all`.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if not self._ended_sending():
            self._check_sendable()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._finish()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _finish(self) -> None:
        """`send_eof` without the checkpoint."""
        if self._session._core.finish(self._state):
            self._session._writer.poke()
            self._session._life.streams_changed()
            self._tell_if_over()

    def _ended_sending(self) -> bool:
        state = self._state
        return not self._closed and state.reset_code is None and not state.may_send

    def _check_sendable(self) -> None:
        state = self._state
        if state.phase.sends and not state.cut_short and self._session._life.end is None:
            return  # not closed and not reset either: those end the phase
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if state.reset_code is not None:
            raise self._reset_error(state.reset_code)
        if not state.may_send:
            raise trio.ClosedResourceError("send_eof was called on this stream")
        self._session._life.check_alive()
        raise trio.BrokenResourceError("an earlier send_all or splice was cancelled: the stream can only be closed")

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
                await self._wait_as_receiver()
            state = self._state
            if not state.chunks or self._closed:  # not `buffered`: an internal error may have lost what that counts
                return self._receive_end()
            data = self._session._core.take(state, max_bytes)
            if state.grant:
                self._session._writer.grant()
            return data
        finally:
            self._receiving = False

    def _must_wait(self) -> bool:
        state = self._state
        # While the phase reads, the peer has not ended its direction and the stream is neither closed nor reset.
        return not state.buffered and state.phase.reads and self._session._life.end is None

    async def _wait_as_receiver(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _receive_end(self) -> bytes:
        """Nothing is left to receive: b"" after the peer's FIN, or the error that says why."""
        state = self._state
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if state.reset_code is not None:
            raise self._reset_error(state.reset_code)
        if not state.received_fin:
            self._session._life.check_alive()
        return b""

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
        if self._state.cut_short:
            self._check_sendable()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            self._state.cut_short = True  # nothing came of the socket: a FIN would pass for its end, as below
            raise
        if not has_poller:
            await copy_both_ways(self, socket, early, head, pacer)
            return
        scope = trio.CancelScope()
        splice = Splice(self, socket.socket, pacer, scope.cancel)
        splice.start_sending()
        self._splice = splice
        self._sending = True
        try:
            if head is not None:
                with scope:
                    early += await head()
            self._receiving = True
            splice.start_receiving(early)
            await splice.wait()
        except BaseException:
            self._state.cut_short = True  # what came of the socket is a part: a FIN would pass for its end
            raise
        finally:
            self._splice = None
            splice.stop()
            self._sending = self._receiving = False

    # ---- ending ----

    async def aclose(self) -> None:
        """End both directions for this side. The peer reads what was sent, then b""; what it still sends is
        answered by a reset (CANCEL), and what was received but not read is dropped.

        If cancelled, or if the last `send_all` was cut short, the stream is reset with CANCEL instead, so that
        the peer does not take what it has for the whole. Never raises but for cancellation.
        """
        if not self._closed:
            cancelled = trio.current_effective_deadline() == -inf
            self._end(ErrorCode.CANCEL if cancelled else None)
        await trio.lowlevel.checkpoint()

    def reset(self, code: int = ErrorCode.CANCEL) -> None:
        """End both directions at once, without waiting; the peer's operations fail with StreamReset(code).

        Unread data is lost on both sides. Does nothing to a stream that is closed or has ended.
        """
        check_code(code)
        if not self._closed:
            self._end(code)

    def _close_now(self) -> None:
        """`aclose` without the checkpoint."""
        if not self._closed:
            self._end(None)

    def _end(self, code: int | None) -> None:
        session = self._session
        self._closed = True
        if self._unsent:
            session._writer.withdraw(self._state)
        if code is None and session._life.end is not None:
            # The last words of the session may still be written, and what this stream could not send any more is
            # not among them: no FIN for it.
            code = ErrorCode.CANCEL
        if code is None:
            session._core.close(self._state)
        else:
            session._core.reset(self._state, code)
        self._on_over()
        session._writer.poke()
        session._life.streams_changed()

    async def wait_ended(self) -> StreamReset | SessionClosed | None:
        """Wait until the stream is over, and return why: the StreamReset or SessionClosed that cut it short, or None if
        both directions ended in order, or if this side closed or reset it.

        For a task that computes, and would not learn otherwise that nobody waits for the result. The peer's EOF alone
        is no end: this side may still answer. Any number of tasks may wait, and others may use the stream meanwhile.
        Never raises but for cancellation.
        """
        over = trio.Event()
        cut: StreamReset | SessionClosed | None = None

        def tell(by: StreamReset | SessionClosed | None) -> None:
            nonlocal cut
            cut = by
            over.set()

        with self._watched(tell):
            await over.wait()
        return cut

    def _cut_by(self) -> StreamReset | SessionClosed | None:
        """Of a stream that is over: what cut it short, if anything but this side's own close or reset did."""
        state, end = self._state, self._session._life.end
        if self._closed:
            return None
        if state.reset_code is not None:
            return self._reset_error(state.reset_code)
        return None if state.ended or end is None else SessionClosed(end)

    @contextmanager
    def _watched(self, tell: Watcher) -> Iterator[None]:
        """Call `tell` once the stream is over, with what cut it short, if that is before the block is left."""
        if self._watchers is None:  # made only for those who watch: idle streams must cost little
            self._watchers = set()
        self._watchers.add(tell)
        self._tell_if_over()
        try:
            yield
        finally:
            if self._watchers is not None:
                self._watchers.discard(tell)

    def _tell_if_over(self) -> None:
        if self._watchers and (self._closed or self._state.ended or self._session._life.end is not None):
            watchers, self._watchers = self._watchers, None
            cut = self._cut_by()
            for tell in watchers:
                tell(cut)

    def _reset_error(self, code: int) -> StreamReset:
        state = self._state
        return StreamReset(state.id, code, by_peer=state.reset_by_peer, retryable=state.retryable)

    def statistics(self) -> StreamStatistics:
        """Counters, windows and sizes now; cheap."""
        return of_stream(self._state, self._session._life.clock())

    # ---- called by the session ----

    def _on_sent(self) -> None:
        self._unsent = False
        self._wake_sender()

    def _on_writable(self) -> None:
        if not self._unsent:  # else the scheduler has its data in line again, and nothing is done yet
            self._wake_sender()

    def _on_readable(self) -> None:
        self._wake_receiver()
        if self._watchers:
            self._tell_if_over()

    def _on_arrived(self) -> None:
        assert self._splice is not None
        self._splice.on_arrived()
        if self._watchers:
            self._tell_if_over()

    def _wake_receiver(self) -> None:
        task = self._receiver
        if task is not None:
            self._receiver = None
            trio.lowlevel.reschedule(task)
        elif self._splice is not None:
            self._splice.on_receivable()

    def _wake_sender(self) -> None:
        task = self._sender
        if task is not None:
            self._sender = None
            trio.lowlevel.reschedule(task)
        elif self._splice is not None:
            self._splice.on_sendable()

    def _on_over(self) -> None:
        """The stream was reset or closed, or the session has ended."""
        self._wake_receiver()
        self._wake_sender()
        self._tell_if_over()


def _check_max_bytes(max_bytes: int) -> None:
    if not isinstance(max_bytes, int):
        raise TypeError("max_bytes must be an integer or None")
    if max_bytes < 1:
        raise ValueError("max_bytes must be at least 1")


def _as_bytes(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")

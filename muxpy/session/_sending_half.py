"""The sending half of a stream: conflicts, errors, and when a sender lets other tasks run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy._errors import SessionClosed

from ._engine import reset_error
from ._waiting import waiting_of

if TYPE_CHECKING:
    from muxpy.proto import Fields, StreamState

    from ._engine import Engine
    from ._waiting import Waiting

__all__ = ["SendingHalf"]


class SendingHalf(trio.abc.HalfCloseableStream):
    """What sends of a Stream. It is a part of it, rather than an object of its own: one less for each stream."""

    __slots__ = ("_engine", "_has_received", "_sending", "_state")

    def __init__(self, engine: Engine, state: StreamState) -> None:
        self._engine = engine
        self._state = state
        self._sending = False
        self._has_received = False  # `receive_some` has let other tasks run, and nothing was sent since

    @property
    def _waiting(self) -> Waiting:
        return waiting_of(self._state)

    async def send_all(self, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """Send all of `data`, and return when its last byte has been handed to the transport. While the peer's window
        is used up or the transport is full, it waits (flow control, backpressure). A small message may be copied
        instead, to be written together with other tasks' messages; then it returns earlier.

        With `end`, it ends the direction with the last byte, as `send_eof` after it would, but without a frame of its
        own.

        It lets other tasks run before it returns, except for the first time after a `receive_some`, which has let them
        run: a request and its answer then take one pass of Trio's scheduler less.

        If cancelled, any part of `data` may have been sent. The stream can then only be closed or reset, and closing
        resets it, so that the peer does not take the part for the whole.

        Raises trio.BusyResourceError if another task is sending; trio.ClosedResourceError after `send_eof`, `aclose` or
        `reset`; trio.BrokenResourceError after a `send_all` or `splice` that was cancelled; StreamReset if the stream
        was reset by the peer, or for a rule that the peer broke; SessionClosed if the session has ended.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if not self._sendable():
            raise self._not_sendable()
        self._sending = True
        suspended = False
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if not isinstance(data, (bytes, bytearray)):
                # The view is released on the way out: as long as it exists, the caller's buffer cannot be resized, and
                # somebody may keep the traceback.
                with _as_bytes(data) as view:
                    suspended = await self._send(view, end)
            elif not (data and self._engine.writer.send_small(self._state, data, end)):
                with memoryview(data) as view:
                    suspended = await self._send(view, end)
            if end:
                self._engine.finish(self._state)
            if self._has_received:  # that was a turn for the others; there is one for each receive, so nobody starves
                self._has_received = False
            elif not suspended:
                if (lead := self._engine.lead).on_its_way is not None:
                    lead.comes_back()
                await trio.lowlevel.cancel_shielded_checkpoint()
        except trio.Cancelled:
            # Even if nothing was sent, or all in the last moment: the sender breaks off, so what the peer has may be a
            # part of the whole.
            if len(data):
                self._engine.core.sending.withdraw(self._state)
            raise
        finally:
            self._sending = False

    def send_nowait(self, data: bytes | bytearray) -> None:
        """`send_all` without a checkpoint, for a small message (up to 4 KiB) that can be handed on immediately.

        Raises trio.WouldBlock, and sends nothing, if the message is larger or would have to wait; otherwise the
        exceptions of `send_all`.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if not self._sendable():
            raise self._not_sendable()
        if data and not self._engine.writer.send_small(self._state, data):
            raise trio.WouldBlock

    async def _send(self, view: memoryview, end: bool) -> bool:
        """Send what is too much for a small message, or must stand in line. Returns whether it had to wait."""
        writer, waiting = self._engine.writer, self._waiting
        waiting.unsent, had_to_wait = bool(view), False
        try:
            if view:
                writer.send(self._state, view, end=end)
            while waiting.unsent:
                had_to_wait = True
                await waiting.as_sender()
                if waiting.unsent and not self._sendable():
                    raise self._not_sendable()
        finally:
            if waiting.unsent:
                waiting.unsent = False
                writer.withdraw(self._state)
        return had_to_wait

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the peer's window lets this side send something. Raises the same exceptions as `send_all`."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if not self._sendable():
                    raise self._not_sendable()
                if self._state.send_window > 0:
                    break
                await self._waiting.as_sender()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """End the direction to the peer (half-close): the peer reads what was sent, then b"". This side can still
        receive.

        Calling it again does nothing. Raises the same exceptions as `send_all`.
        """
        await self._end()

    async def _end(self, trailers: Fields = ()) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if not self._sendable() and not self._ended_sending:
            raise self._not_sendable()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._engine.finish(self._state, trailers)
        self._engine.lead.comes_back()
        await trio.lowlevel.cancel_shielded_checkpoint()

    @property
    def _ended_sending(self) -> bool:
        state = self._state
        return not state.closed and state.reset_code is None and not state.phase.sends

    def _sendable(self) -> bool:
        # A stream that was closed or reset does not send either: its phase says so.
        state = self._state
        return state.phase.sends and not state.cut_short and self._engine.ending.end is None

    def _not_sendable(self) -> Exception:
        """The exception that says why nothing can be sent."""
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


def _as_bytes(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")

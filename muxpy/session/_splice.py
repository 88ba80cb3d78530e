"""Joining a stream to a socket without a task that wakes for each chunk.

A relay of two tasks wakes a task for each chunk in each direction: that costs a pass through Trio's scheduler, a system
call to wait for the socket, and a copy. For many small messages this was most of the cost of a forwarded connection.
Here the session's reader writes the stream's data to the socket, from the buffer that it was read into. The poller
reads and frames the socket's data, for many sockets in one turn. The task that called `Stream.splice` sleeps until both
directions have ended or one has failed; `Stream.start_splice` has none.

    session's reader -> Core.receive -> Changes.direct -> on_arrived -> writev             to the socket
       views of the read buffer, not copied                  what it does not take is kept as for any stream

    Poller's epoll -> _on_ready -> readv -> Writer.send_small / send                       from the socket
       one task for all sockets of a run     a buffer of the poller    one write for all that were ready in one turn

Either side holds up the other, so backpressure passes through:

- **Towards the socket** nothing is awaited: the reader waits for nothing but the transport. Bytes that the socket does
  not take stay in the stream, whose window is not given back, and the poller says when the socket has room. So a slow
  client slows down only its own peer.
- **Towards the stream** the socket is not read while data waits for window or transport. At most one buffer waits for
  each socket, and only if it is more than half full; fewer bytes are copied to a buffer of their size.
- **Messages of one turn go together**: while the poller handles several sockets, the writer is corked. A lone message
  is not delayed.
- **A head** that takes the first bytes of the stream is called in the task that reads, so no task wakes for it either.
- **A pacer** is asked before the socket is read, and before bytes are taken from the stream. So bytes that wait for
  their turn wait in the kernel or in the window, and none are written straight from the read buffer. Errors of the
  socket are watched for all the time.
"""

from __future__ import annotations

import os
from socket import SHUT_WR, SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Final

import trio

from muxpy._errors import SessionClosed

from ._pacing import SMALL
from ._poller import ERROR, READ_SIZE, READABLE, WRITABLE, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import StreamState

    from ._copying import Head
    from ._engine import Engine
    from ._pacer import Pacer
    from ._poller import Socket
    from ._waiting import Waiting

__all__ = ["Splice"]

MAX_PIECES: Final = 512
"""Buffers handed to one writev. Linux takes at most 1,024."""


class Splice:
    """One stream and one socket. The stream calls `on_arrived`, `on_receivable` and `on_sendable`; the poller calls
    `_on_ready`."""

    __slots__ = (
        "_buffer",
        "_early",
        "_engine",
        "_far_ended",
        "_head",
        "_near_ended",
        "_on_end",
        "_over",
        "_pacer",
        "_pending",
        "_state",
        "_waiting",
        "_watch",
        "error",
    )

    def __init__(
        self,
        engine: Engine,
        state: StreamState,
        waiting: Waiting,
        socket: Socket,
        early: bytes,
        head: Head | None,
        pacer: Pacer | None,
        on_end: Callable[[Splice], None] | None = None,
    ) -> None:
        self._engine = engine
        self._state = state
        self._waiting = waiting
        self._watch = Watch(socket)
        self._pacer = pacer
        self._over = False
        self._on_end = on_end
        self.error: BaseException | None = None  # why it ended, if not in order
        # Towards the socket.
        self._head = head  # takes what is received until it has all that it needs
        self._early = early  # goes there first
        self._pending: memoryview | None = None  # taken from the stream, not yet written
        self._far_ended = False  # the stream has nothing more for the socket
        # Towards the stream.
        self._buffer: memoryview | None = None  # the poller's buffer, while its bytes stand in line
        self._near_ended = not state.phase.sends  # the socket has nothing more for the stream

    # ---- beginning and end ----

    def start(self) -> None:
        """From now on, data from the socket goes to the stream, and what the stream receives to the head and then to
        the socket: `on_receivable` looks for what it has received already. Raises trio.ClosedResourceError if the
        socket is closed, and trio.BusyResourceError if it is spliced already."""
        self._watch.begin(READABLE if self._may_read else 0, self._on_ready)
        self._waiting.splice = self

    async def wait(self) -> None:
        """Wait until both directions have ended. If one failed, raises its error."""
        if not self._over:
            task = trio.lowlevel.current_task()
            self._on_end = lambda _: trio.lowlevel.reschedule(task)
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()  # it is done: a cancellation now would deny that
        if self.error is not None:
            raise self.error

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._on_end = None
        return trio.lowlevel.Abort.SUCCEEDED

    def stop(self) -> None:
        """Leave the stream and the socket alone from now on."""
        self._waiting.splice = None
        if not self._over:
            self._end(None)
        self.error = None  # its frames would keep this splice alive
        if self._waiting.unsent:
            self._waiting.unsent = False
            self._engine.writer.withdraw(self._state)

    def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        self.error = error
        self._pass_on_directly(False)
        self._watch.end()
        if self._pacer is not None:
            self._pacer.withdraw(self._resume_reading)
            self._pacer.withdraw(self._resume_writing)
        on_end, self._on_end = self._on_end, None  # it may refer to this splice: a cycle
        if on_end is not None:
            on_end(self)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OSError):
            broken = trio.BrokenResourceError(f"the socket failed: {error}")
            broken.__cause__ = error
            error = broken
        self._end(error)

    def _end_if_done(self) -> None:
        if self._near_ended and self._far_ended:
            self._end(None)

    # ---- from the socket to the stream ----

    def _on_ready(self, events: int) -> None:
        try:
            watched = self._watch.events
            if events == READABLE == watched:  # nearly always
                self._read()
                return
            if events & (WRITABLE | ERROR) and watched & WRITABLE:
                self._write()
            if events & (READABLE | ERROR) and not self._over:
                if self._watch.events & READABLE:
                    self._read()
                else:
                    self._look_for_error()
        except Exception as error:  # whatever it is, the task that waits must get it
            self._fail(error)

    @property
    def _may_read(self) -> bool:
        return self._state.phase.sends and self._engine.ending.end is None

    def _read_or_not(self, read: bool) -> None:
        """Whether to watch for something to read."""
        self._change(self._watch.events | READABLE if read else self._watch.events & ~READABLE)

    def _change(self, events: int) -> None:
        if not self._over:
            self._watch.change(events)

    def _read(self) -> None:
        most = READ_SIZE if self._pacer is None else min(READ_SIZE, self._pacer.allow(self._resume_reading))
        if not most:  # errors of the socket are reported all the same
            self._read_or_not(False)
            return
        poller = self._watch.poller
        buffer = poller.buffer
        try:
            count = os.readv(self._watch.fd(), [buffer if most == READ_SIZE else buffer[:most]])
        except BlockingIOError:
            return
        if count:
            if self._pacer is not None:
                self._pacer.carried(count)
            writer = self._engine.writer
            if not writer.pacing.corked:
                poller.cork(writer)
            if count > SMALL or not writer.send_small(self._state, bytes(buffer[:count])):
                self._send(buffer, count)
        else:
            self._near_ended = True
            if not self._far_ended:  # otherwise nothing is watched for any more in a moment
                self._read_or_not(False)
            self._engine.finish(self._state)
            self._end_if_done()

    def _resume_reading(self) -> None:
        """The pacer lets the socket be read again."""
        if self._over or self._near_ended or not self._may_read or self._waiting.unsent:
            return
        try:
            self._read_or_not(True)
            self._read()
        except Exception as error:
            self._fail(error)

    def _send(self, buffer: memoryview, count: int) -> None:
        """Put in line what is not small, or cannot go at once."""
        waiting, writer = self._waiting, self._engine.writer
        waiting.unsent = True
        if 2 * count < len(buffer):  # a mostly empty buffer must not wait
            writer.send(self._state, memoryview(bytes(buffer[:count])))
        else:
            self._buffer = self._watch.poller.keep_buffer()
            writer.send(self._state, buffer[:count])
        if waiting.unsent:
            self._read_or_not(False)
        else:
            self._give_buffer_back()

    def _give_buffer_back(self) -> None:
        if self._buffer is not None:
            self._watch.poller.give_back(self._buffer)
            self._buffer = None

    def _look_for_error(self) -> None:
        """The socket is not read at present, and something has happened to it."""
        number = self._watch.socket.getsockopt(SOL_SOCKET, SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if not self._watch.events:  # both its directions have ended, and epoll would report that again and again
            self._watch.pause()

    def on_sendable(self) -> None:
        """Data in line was sent, or cannot be sent any more."""
        unsent = self._waiting.unsent
        if not unsent:  # otherwise a batch that is being written may still refer to it, even if the session is over
            self._give_buffer_back()
        if self._near_ended or self._over:
            return
        try:
            if self._far_ended:  # nothing else would notice the session's end
                self._engine.ending.check_alive()
            self._read_or_not(self._may_read and not unsent)
        except Exception as error:  # the callers, the session's reader and writer, must not get it
            self._fail(error)

    # ---- from the stream to the socket ----

    def _pass_on_directly(self, direct: bool) -> None:
        if self._state.incoming.direct is not direct:
            self._engine.core.read_directly(self._state, direct)

    def on_arrived(self) -> None:
        """Bytes for the socket are in the session's read buffer: write them from there, without a copy."""
        core, state = self._engine.core, self._state
        pieces = state.incoming.arriving or []
        try:
            fd = self._watch.fd()
            count = os.write(fd, pieces[0]) if len(pieces) == 1 else os.writev(fd, pieces[:MAX_PIECES])
        except BlockingIOError:
            count = 0
        except (OSError, trio.ClosedResourceError) as error:
            core.pass_on(state, 0)
            self._fail(error)
            return
        core.pass_on(state, count)
        if state.incoming.buffered or not state.phase.reads:
            self._pass_on_directly(False)
            self._write_safely()

    def on_receivable(self) -> None:
        """The stream has received something, or has ended."""
        if self._over:
            return
        state = self._state
        broken_off = state.closed or state.reset_code is not None
        # If the socket is full, the poller says when to go on.
        if broken_off or not self._watch.events & WRITABLE:
            self._write_safely()

    def _write_safely(self) -> None:
        try:
            self._write()
        except Exception as error:
            self._fail(error)

    def _resume_writing(self) -> None:
        """The pacer lets the socket be written to again."""
        self.on_receivable()

    def _write(self) -> None:
        """Write all received data, as far as the socket and the pacer take it."""
        state, watch = self._state, self._watch
        if state.closed or state.reset_code is not None:
            self._engine.check_end(state)  # raises
        if self._head is not None and not self._pass_head(self._head):
            return
        while self._pending is not None or self._early or state.incoming.buffered:
            if self._pending is None:
                most = None if self._pacer is None else self._pacer.allow(self._resume_writing)
                if most == 0:
                    self._change(watch.events & ~WRITABLE)
                    return
                self._pending = memoryview(self._next(most))
            try:
                count = os.write(watch.fd(), self._pending)
            except BlockingIOError:
                self._pass_on_directly(False)
                self._change(watch.events | WRITABLE)
                return
            self._pending = self._pending[count:] if count < len(self._pending) else None
        if watch.events & WRITABLE:
            self._change(watch.events & ~WRITABLE)
        if state.phase.reads and self._engine.ending.end is None:
            self._pass_on_directly(self._pacer is None)
        elif not self._far_ended:
            self._end_far()

    def _pass_head(self, head: Head) -> bool:
        """Give the head what was received. Returns whether it has all."""
        state = self._state
        rest: bytes | None = None
        while rest is None:
            data = b""
            if state.incoming.buffered:
                data = self._receive(None)
            elif state.phase.reads and self._engine.ending.end is None:
                return False
            else:
                self._engine.check_end(state)  # raises unless it was an orderly end
            rest = head(data)
            if not data:
                break
        self._early += rest or b""
        self._head = None
        return True

    def _next(self, most: int | None) -> bytes:
        """The next bytes for the socket."""
        if self._early:
            most = len(self._early) if most is None else most
            data, self._early = self._early[:most], self._early[most:]
        else:
            data = self._receive(most)
        if self._pacer is not None:
            self._pacer.carried(len(data))
        return data

    def _receive(self, most: int | None) -> bytes:
        data = self._engine.core.read(self._state, most)
        if self._state.incoming.unwritten:
            self._engine.writer.update_window()
        return data

    def _end_far(self) -> None:
        self._engine.check_end(self._state)  # raises unless it was an orderly end
        self._watch.fd()  # raises if the socket was closed
        self._far_ended = True
        self._watch.socket.shutdown(SHUT_WR)
        end = self._engine.ending.end
        if end is not None and not self._near_ended:
            raise SessionClosed(end)
        self._end_if_done()

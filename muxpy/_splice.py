"""Joining a stream to a socket without a task that wakes for each chunk.

What arrives for the stream is written to the socket by the session's reader, from the buffer that it was read into.
What comes from the socket is read and framed by the poller, for many sockets in one turn. The task that called
`Stream.splice` sleeps until both directions have ended or one has failed.

Either side holds up the other: data that the socket does not take stays in the stream, whose window is then not given
back to the peer; while data waits for the stream's window or the transport, the socket is not read.
"""

from __future__ import annotations

import os
from socket import SHUT_WR, SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Final

import trio

from ._errors import SessionClosed, without_cancelled
from ._io import SMALL
from ._poller import ERROR, READ_SIZE, READABLE, WRITABLE, Poller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._pacer import Pacer
    from ._stream import Stream

__all__ = ["Splice", "copy_both_ways"]

MAX_PIECES: Final = 512
"""Buffers handed to one writev. Linux takes at most 1,024."""

COPY_SIZE: Final = 64 * 1024
"""Bytes copied at once where there is no epoll."""


class Splice:
    """One stream and one socket. The stream tells it what happens there, the poller what happens at the socket."""

    __slots__ = (
        "_buffer",
        "_core",
        "_early",
        "_error",
        "_events",
        "_far_ended",
        "_fd",
        "_fileno",
        "_near_ended",
        "_on_failure",
        "_over",
        "_pacer",
        "_pending",
        "_poller",
        "_receiving",
        "_socket",
        "_state",
        "_stream",
        "_task",
        "_watched",
        "_writer",
    )

    def __init__(
        self, stream: Stream, socket: trio.socket.SocketType, pacer: Pacer | None, on_failure: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._state = stream._state
        self._core = stream.session._core
        self._writer = stream.session._writer
        self._poller = Poller.current()
        self._socket = socket
        self._fileno = socket.fileno
        self._fd = self._fileno()
        self._pacer = pacer
        self._on_failure = on_failure
        self._events = 0
        self._watched = False
        self._receiving = False  # what the stream receives goes to the socket
        self._early = b""  # what goes to the socket before what the stream receives
        self._pending: memoryview | None = None  # taken from the stream, not yet written to the socket
        self._buffer: memoryview | None = None  # of the poller, while its bytes stand in line
        self._near_ended = not self._state.may_send  # of the socket there is nothing more to read
        self._far_ended = False  # of the stream there is nothing more to write
        self._over = False
        self._error: BaseException | None = None
        self._task: trio.lowlevel.Task | None = None

    # ---- the task ----

    def start_sending(self) -> None:
        """From now on, what comes from the socket goes to the stream. Raises trio.ClosedResourceError if the socket is
        closed, and trio.BusyResourceError if it is spliced already."""
        self._events = READABLE if self._may_read else 0
        self._poller.add(self._open_fd(), self._events, self._on_ready)
        self._watched = True

    def start_receiving(self, early: bytes) -> None:
        """From now on, what the stream receives goes to the socket, `early` before it."""
        self._receiving = True
        self._early = early
        self.on_receivable()

    async def wait(self) -> None:
        """Wait until both directions have ended. Raises what one of them failed with."""
        if not self._over:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()  # it is done: a cancellation now would deny that
        if self._error is not None:
            raise self._error

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def stop(self) -> None:
        """Leave the stream and the socket alone from now on."""
        self._end(None)
        self._error = None  # whose frames hold this splice
        if self._stream._unsent:
            self._stream._unsent = False
            self._writer.withdraw(self._state)

    def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        self._error = error
        self._state.direct = False
        if self._watched:
            self._poller.remove(self._fd, self._on_ready)
        if self._pacer is not None:
            self._pacer.withdraw(self._resume_reading)
            self._pacer.withdraw(self._resume_writing)
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OSError):
            broken = trio.BrokenResourceError(f"the socket failed: {error}")
            broken.__cause__ = error
            error = broken
        self._end(error)
        self._on_failure()

    def _end_if_done(self) -> None:
        if self._near_ended and self._far_ended:
            self._end(None)

    # ---- news of the socket ----

    def _on_ready(self, events: int) -> None:
        try:
            if events & (WRITABLE | ERROR) and self._events & WRITABLE:
                self._write()
            if events & (READABLE | ERROR) and not self._over:
                if self._events & READABLE:
                    self._read()
                else:
                    self._look_for_error()
        except Exception as error:  # whatever it is, the task that waits must not miss it
            self._fail(error)

    def _read(self) -> None:
        most = READ_SIZE if self._pacer is None else min(READ_SIZE, self._pacer.allow(self._resume_reading))
        if not most:  # errors of the socket are told all the same
            self._watch(self._events & ~READABLE)
            return
        poller = self._poller
        buffer = poller.take_buffer()
        try:
            count = os.readv(self._open_fd(), [buffer if most == READ_SIZE else buffer[:most]])
        except BlockingIOError:
            poller.give_back(buffer)
            return
        if count:
            if self._pacer is not None:
                self._pacer.carried(count)
            poller.hold(self._writer)
            self._send(buffer, count)
        else:
            poller.give_back(buffer)
            self._near_ended = True
            self._watch(self._events & ~READABLE)
            self._stream._finish()
            self._end_if_done()

    def _resume_reading(self) -> None:
        """The pacer lets the socket be read again."""
        if self._over or self._near_ended or not self._may_read or self._stream._unsent:
            return
        try:
            self._watch(self._events | READABLE)
            self._read()
        except Exception as error:
            self._fail(error)

    def _send(self, buffer: memoryview, count: int) -> None:
        stream, writer = self._stream, self._writer
        if count <= SMALL and writer.send_small(self._state, bytes(buffer[:count])):
            self._poller.give_back(buffer)
            return
        stream._unsent = True
        if 2 * count < len(buffer):  # a buffer that waits should not be mostly empty
            writer.send(self._state, memoryview(bytes(buffer[:count])))
            self._poller.give_back(buffer)
        else:
            self._buffer = buffer
            writer.send(self._state, buffer[:count])
        if stream._unsent:
            self._watch(self._events & ~READABLE)
        else:
            self._release_buffer()

    def _release_buffer(self) -> None:
        if self._buffer is not None:
            self._poller.give_back(self._buffer)
            self._buffer = None

    def _look_for_error(self) -> None:
        """The socket is not read at present, and something has happened to it."""
        number = self._socket.getsockopt(SOL_SOCKET, SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if not self._events:  # both its directions have ended, and that would be told again and again
            self._poller.remove(self._fd, self._on_ready)
            self._watched = False

    def _watch(self, events: int) -> None:
        if events == self._events or self._over:
            return
        fd = self._open_fd()
        self._events = events
        if self._watched:
            self._poller.change(fd, events)
        else:
            self._poller.add(fd, events, self._on_ready)
            self._watched = True

    def _open_fd(self) -> int:
        # The descriptor's number may belong to another file once the socket is closed.
        if self._fileno() < 0:
            raise trio.ClosedResourceError("the socket was closed")
        return self._fd

    # ---- news of the stream ----

    def on_sendable(self) -> None:
        """What stood in line was sent, or cannot be sent any more."""
        unsent = self._stream._unsent
        if not unsent:  # else a batch that is still being written may refer to it, though the session is over
            self._release_buffer()
        if self._near_ended or self._over:
            return
        try:
            if self._far_ended and not self._alive:  # nothing else would notice
                self._stream.session._life.check_alive()
            self._watch(self._events | READABLE if self._may_read and not unsent else self._events & ~READABLE)
        except Exception as error:  # called by the session's reader and writer, whom it does not concern
            self._fail(error)

    @property
    def _alive(self) -> bool:
        return self._stream.session._life.end is None

    @property
    def _may_read(self) -> bool:
        return self._state.phase.sends and self._alive

    @property
    def _broken_off(self) -> bool:
        return self._stream._closed or self._state.reset_code is not None

    def on_arrived(self) -> None:
        """Bytes for the socket lie in the session's read buffer: write them from there."""
        pieces = self._state.arriving or []
        try:
            count = os.writev(self._open_fd(), pieces if len(pieces) <= MAX_PIECES else pieces[:MAX_PIECES])
        except BlockingIOError:
            count = 0
        except (OSError, trio.ClosedResourceError) as error:
            self._core.pass_on(self._state, 0)
            self._fail(error)
            return
        self._core.pass_on(self._state, count)
        if self._state.buffered or not self._state.phase.reads:
            self._state.direct = False
            self._write_safely()

    def on_receivable(self) -> None:
        """The stream has received something, or has ended."""
        if self._over:
            return
        if self._broken_off or (self._receiving and not self._events & WRITABLE):  # else the socket is full
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
        """Write all that was received, as far as the socket and the pacer take it."""
        if self._broken_off:
            self._stream._receive_end()  # raises
        while self._pending is not None or self._early or self._state.buffered:
            if self._pending is None:
                most = None if self._pacer is None else self._pacer.allow(self._resume_writing)
                if most == 0:
                    self._watch(self._events & ~WRITABLE)
                    return
                self._pending = memoryview(self._take(most))
            try:
                count = os.write(self._open_fd(), self._pending)
            except BlockingIOError:
                self._state.direct = False
                self._watch(self._events | WRITABLE)
                return
            self._pending = self._pending[count:] if count < len(self._pending) else None
        self._watch(self._events & ~WRITABLE)
        if self._state.phase.reads and self._alive:
            self._state.direct = self._pacer is None
        elif not self._far_ended:
            self._end_far()

    def _take(self, most: int | None) -> bytes:
        """The next bytes for the socket."""
        if self._early:
            most = len(self._early) if most is None else most
            data, self._early = self._early[:most], self._early[most:]
        else:
            data = self._core.take(self._state, most)
            if self._state.grant:
                self._writer.grant()
        if self._pacer is not None:
            self._pacer.carried(len(data))
        return data

    def _end_far(self) -> None:
        self._stream._receive_end()  # raises unless it was an orderly end
        self._open_fd()
        self._far_ended = True
        self._socket.shutdown(SHUT_WR)
        end = self._stream.session._life.end
        if end is not None and not self._near_ended:
            raise SessionClosed(end)
        self._end_if_done()


async def copy_both_ways(
    stream: Stream,
    socket: trio.SocketStream,
    early: bytes,
    head: Callable[[], Awaitable[bytes]] | None,
    pacer: Pacer | None,
) -> None:
    """What `Stream.splice` does where there is no epoll."""

    async def outwards() -> None:
        await _copy(stream, socket, pacer, early if head is None else early + await head())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outwards)
            if not stream._ended_sending():
                await _copy(socket, stream, pacer)
    except BaseExceptionGroup as group:
        stream._state.cut_short = True
        cause = without_cancelled(group)
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        error = group if cause is None else cause
        raise error from error.__cause__


async def _copy(
    source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream, pacer: Pacer | None, early: bytes = b""
) -> None:
    data: bytes | bytearray = early or await source.receive_some(COPY_SIZE)
    while data:
        if pacer is not None:
            await pacer.take(len(data))
        await sink.send_all(data)
        data = await source.receive_some(COPY_SIZE)
    await sink.send_eof()

"""How a session lives and ends: its tasks, what the reader's news does, and the ways to close.

A session ends once. `finish` decides how, wakes everyone who waits, and from then on every operation fails
with that end. What is left is to give the last words time to be written and read, and to close the transport.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import ExitStack
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ._backlog import Backlog
from ._codes import ErrorCode, ProtocolError, code_name, printable
from ._errors import SessionClosed, SessionEnd, only_lost, without_cancelled
from ._extensions import register
from ._group import endings, resets_of, turns_of
from ._io import TRANSPORT_ERRORS, Reader, Writer
from ._statistics import SessionStatistics, of_session
from ._stream import Stream
from ._suspension import overslept
from ._trace import tap_for
from .proto import Changes, Connection, StreamState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ._group import SessionGroup
    from ._session import Session
    from ._transport import Transport
    from .ext import Extension

log = logging.getLogger("muxpy.session")

WOKEN_A_TURN: Final = 64
"""Tasks that are woken at once because their streams have ended; each takes some tens of microseconds to end itself."""

NAMED_STREAMS: Final = 8
"""Streams that a line of the log names."""


class Lifecycle:
    """The tasks of one session and its end."""

    def __init__(self, session: Session, transport: Transport, extensions: Iterable[Extension]) -> None:
        self._session = session
        self._config = session.config
        self._transport = transport
        self._extensions = register(extensions)
        self.clock = trio.lowlevel.current_clock().current_time  # trio.current_time() without looking up the run
        self.core = Connection(
            session.config, client=session.client, clock=self.clock, extension_types=self._extensions
        )
        self._tap = tap_for(session, self.clock)
        self.reader = Reader(transport, self.core, self, self.clock, self._tap)
        self.writer = Writer(transport, self.core, _on_sent, self.clock, self._tap)
        self.backlog = Backlog(self.core)
        self.end: SessionEnd | None = None
        self.closing = False
        self.going_away = trio.Event()  # no more streams can be opened from here
        self._drain_until = -inf
        self._watches_idle = session.config.idle_timeout is not None
        self.bug: BaseException | None = None
        self._idle_since: float | None = trio.current_time()  # since when no stream is open
        self._scope = trio.CancelScope()
        self._silent = True  # no whole frame has come yet
        self._first_frame: trio.CancelScope | None = None  # its time limit
        self._over = trio.Event()  # it is decided how the session ends
        self._closed = trio.Event()  # nothing of it is left
        self._tasks: trio.Nursery | None = None
        self._admitted = not session.config.wants_login
        self._membership = ExitStack()
        self._progress = trio.lowlevel.ParkingLot()  # who waits for streams to finish
        # Streams that have ended and whose tasks are yet to be woken. The protocol may have forgotten them, so whoever
        # is cancelled while waking them leaves the others here for `run`.
        self._unwoken: deque[StreamState] = deque()
        # Said here, not in `run`: who opened the session may be faster than its tasks, and send or kill it before.
        log.info("%r begins%s", session, f", {session.tls.version()}" if session.tls else "")
        if self._tap is not None:
            self._tap.begin()

    # ---- running ----

    async def run(self) -> None:
        """Everything that happens in the background, until the transport is closed."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._tasks = nursery
                    nursery.start_soon(self._guard, self._read)
                    nursery.start_soon(self._guard, self._write)
                    if self._admitted:
                        self._start_extensions()
                    if self._config.idle_timeout is not None:
                        nursery.start_soon(self._watch_idle, self._config.idle_timeout)
                    await self._over.wait()
                    with endings().member():
                        await endings().in_turn()
                        await self._wake_all()
                        await self._linger()
                        await endings().in_turn()
                    nursery.cancel_scope.cancel()
        finally:
            self._finish_killed(None)
            self._membership.close()
            try:
                with trio.CancelScope(shield=True):
                    await self._wake_all()
                    await trio.aclose_forcefully(self._transport)
            except TRANSPORT_ERRORS as error:
                log.debug("%r: closing the transport: %s", self._session, error)
            finally:
                if self._tap is not None and self.end is not None:
                    self._tap.end(self.end)  # now, since the last words went after it was decided how it ends
                self._closed.set()
                self._let_go()

    def _let_go(self) -> None:
        """Hold nothing in a circle any more, so that an ended session is freed as soon as nobody asks about it. Left to
        the cycle collector, sessions that come and go have it stop everything, for a tenth of a second at a time."""
        self._tasks = None
        self.reader.let_go()
        del self._session

    def join(self, group: SessionGroup) -> None:
        """Count as one of the sessions of `group`, and of no other one."""
        self._membership.close()
        self._transport.turns = turns_of(group)
        self._membership.enter_context(turns_of(group).member())
        self.core.share_resets(*resets_of(group))

    def admit(self) -> None:
        """See Session.admit."""
        if self._admitted:
            return
        self._admitted = True
        self._transport.allowance = None
        self.core.admit()
        if self.end is None and self._tasks is not None:  # else `run` has yet to begin, and starts them
            self._start_extensions()

    def _start_extensions(self) -> None:
        assert self._tasks is not None
        for slot in self._extensions.values():
            self._tasks.start_soon(self._guard, partial(slot.run, self._session, self.core, self.check_alive))

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """A bug must not hang anybody: end the session, and let whoever opened it see the exception."""
        try:
            await task()
        except BaseException as error:
            bug = without_cancelled(error)
            if not isinstance(bug, Exception):
                raise  # cancelled, or a KeyboardInterrupt that happened to come here
            if self.end is not None and only_lost(bug):
                return  # that the session ended under it is no bug of the task
            log.exception("%r: internal error", self._session)
            self.bug = bug
            self.core.fail(ProtocolError(ErrorCode.INTERNAL_ERROR, "internal error"))
            self.writer.release()  # it may be the writer's task that is gone: the last words go now, or not at all
            self.finish(ErrorCode.INTERNAL_ERROR, bug)

    async def _write(self) -> None:
        await self.writer.run()
        # Writing failed. What the peer said last, such as a GOAWAY with the reason, may still be there to read.
        with trio.move_on_after(self._config.linger_timeout):
            await self.reader.ended.wait()
        self.finish(ErrorCode.INTERNAL_ERROR, self.writer.error)

    async def _read(self) -> None:
        """Read until the transport ends. A client's first frame has a time limit."""
        limit = None if self._session.client else self._config.first_frame_timeout
        while limit is not None and self._silent:
            self._first_frame = trio.CancelScope(deadline=trio.current_time() + limit)
            due = self._first_frame.deadline
            with self._first_frame:
                await self.reader.run()
            if not self._first_frame.cancelled_caught:
                return
            if self._silent and not overslept(due):
                self.core.fail(ProtocolError(ErrorCode.PROTOCOL_ERROR, f"no frame was received within {limit:g} s"))
                self._finish_if_broken()
                break
        await self.reader.run()  # after an error too: when the peer ends, it has read the last words

    async def _watch_idle(self, limit: float) -> None:
        while (left := self._idle_time_left(limit)) > 0:  # noqa: ASYNC110 - sleeps until the time that it is due
            await trio.sleep(left)
        self.core.go_away(ErrorCode.NO_ERROR, b"idle")
        self.finish(ErrorCode.NO_ERROR, None)

    def _idle_time_left(self, limit: float) -> float:
        if self._idle_since is None:
            return limit  # the time begins when the last stream has gone: not yet
        return self._idle_since + limit - trio.current_time()

    async def _linger(self) -> None:
        """Have the last words written, and give the peer time to read them."""
        deadline = trio.current_time() + self._config.linger_timeout
        if self._transport.half_closeable:
            # The peer ends when it has read all: data may still be on a slow way, and closing could destroy it.
            deadline = max(deadline, self._drain_until)
        with trio.CancelScope(deadline=deadline):
            await self.writer.drained()
            try:
                if not self.reader.ended.is_set():
                    await self._transport.send_eof()
                    await self.reader.ended.wait()
                await self._transport.aclose()
            except TRANSPORT_ERRORS:
                pass  # it is closed below in any case

    # ---- news from the reader ----

    def on_changes(self, changes: Changes) -> None:
        """Wake whom the received bytes concern. Runs in the reader: it starts tasks and waits for none."""
        if self._silent and self.core.counters.frames_received:
            self._silent = False
            if self._first_frame is not None:
                self._first_frame.deadline = inf
        self.writer.expect(len(changes.readable) + len(changes.direct) + len(changes.opened) + len(changes.writable))
        for state in changes.opened:
            self._opened(Stream(self._session, state))
        for state in changes.direct:
            if (stream := state.handle()) is not None:
                stream._on_arrived()
        for state in changes.readable:
            if (stream := state.handle()) is not None:
                stream._on_readable()
        for state in changes.writable:
            if (stream := state.handle()) is not None:
                stream._on_writable()
        if len(changes.reset) <= WOKEN_A_TURN:
            for state in changes.reset:
                if (stream := state.handle()) is not None:
                    stream._on_over()
        elif self._tasks is not None:
            self._unwoken += changes.reset
            self._tasks.start_soon(self._guard, self._wake)
        self._finish_if_broken()
        if self.core.remote_goaway is not None:
            self.going_away.set()
        if self.core.needs_writer:
            self.writer.poke()
        self.streams_changed()

    def _opened(self, stream: Stream) -> None:
        if stream._state.extension:
            self.core.accepted(stream._state, hold=True)  # until the extension has taken it
            self._extensions[stream.stream_type].offer(stream, self.core)
        else:
            self.backlog.add(stream)

    def on_eof(self, error: BaseException | None) -> None:
        """The transport ended: in order, if the peer said GOAWAY and nothing was cut."""
        in_order = self.core.receive_eof()
        # A connection that was reset tells whoever asks first, and the other gets an ordinary end.
        # With TLS that is an end without close_notify, which says less than the system said to the writer.
        if not isinstance(error, OSError):
            error = self.writer.error or error
        remote = self.core.remote_goaway
        if self._finish_if_broken():
            pass
        elif in_order or (remote is not None and remote.code != ErrorCode.NO_ERROR):
            self._finish_in_order(by_peer=not self.closing)
        elif error is not None:
            self.finish(ErrorCode.INTERNAL_ERROR, error)
        else:
            wordless = self._session.client and not self.reader.bytes_received and self._session.tls is None
            hint = "; does it expect TLS?" if wordless else ""
            reason = f"the peer closed the connection without saying GOAWAY{hint}"
            self.finish(ErrorCode.INTERNAL_ERROR, trio.BrokenResourceError(reason), by_peer=True)

    def on_transport_output(self) -> None:
        """TLS wants to say something."""
        self.writer.poke()

    def streams_changed(self) -> None:
        """A stream was opened or may have finished."""
        if self._watches_idle:
            if self.core.open_streams:
                self._idle_since = None
            elif self._idle_since is None:
                self._idle_since = trio.current_time()
        if self.closing:
            self._progress.unpark_all()
        elif self.core.used_up:
            self._end_when_used_up()

    def _end_when_used_up(self) -> None:
        """There are no stream ids left, and GOAWAY was said: the session ends with the last stream."""
        self.going_away.set()
        self.backlog.wake()
        if self.end is None and not self._unfinished():
            self._drain_until = trio.current_time() + self._config.drain_timeout
            self.finish(ErrorCode.NO_ERROR, None)

    # ---- ending ----

    def finish(self, code: int, error: BaseException | None, *, by_peer: bool = False) -> None:
        """Decide how the session ends. Only the first call counts. Streams are woken by `run`: they may be many."""
        if self.end is not None:
            return
        remote = self.core.remote_goaway
        self.end = SessionEnd(
            code=code,
            error=error,
            remote_code=remote.code if remote is not None else None,
            remote_debug=remote.debug if remote is not None else b"",
            by_peer=by_peer,
        )
        log.info("%r: %s", self._session, self.end)
        self.going_away.set()
        self.backlog.wake()
        self.writer.wake_waiters()
        for slot in self._extensions.values():
            slot.wake()
        self._progress.unpark_all()
        self._over.set()

    async def _wake_all(self) -> None:
        self._unwoken += self.core.streams.values()
        await self._wake()

    async def _wake(self) -> None:
        """Wake those who wait for ended streams, in turns: a thousand tasks that end together would hold up others."""
        number = 0
        while self._unwoken:
            if (stream := self._unwoken.popleft().handle()) is not None:
                stream._on_over()
            number += 1
            if number % WOKEN_A_TURN == 0:
                await trio.lowlevel.checkpoint()

    def _finish_if_broken(self) -> bool:
        """Whether a rule was broken, which ends the session."""
        error = self.core.error
        if error is not None:
            self.finish(error.code, error)
        return error is not None

    def _finish_in_order(self, *, by_peer: bool) -> None:
        """The session is over, with what the peer's GOAWAY says about it, if that came."""
        remote = self.core.remote_goaway
        if remote is None or remote.code == ErrorCode.NO_ERROR:
            self.finish(ErrorCode.NO_ERROR, None, by_peer=by_peer)
            return
        debug = printable(remote.debug.decode(errors="backslashreplace"))
        reason = f"the peer ended the session with {code_name(remote.code)}" + (f": {debug}" if debug else "")
        self.finish(remote.code, trio.BrokenResourceError(reason), by_peer=True)

    async def aclose(self, *, announce: bool = False) -> None:
        """See Session.aclose."""
        try:
            if self.end is None:
                self._drain_until = trio.current_time() + self._config.drain_timeout
                with trio.CancelScope(deadline=self._drain_until):
                    if announce:
                        self._session.go_away(final=False)
                        await self.going_away.wait()
                self.closing = True
                self.going_away.set()
                self._session.go_away()
                self.backlog.refuse_all()
                await self._drain()
                self._finish_in_order(by_peer=False)
            await self._closed.wait()
        except BaseException:
            self.kill(None)
            raise

    async def _drain(self) -> None:
        """Let open streams finish, for as long as there is time."""
        if self.end is not None or not self._unfinished():
            return
        limit = f"{self._config.drain_timeout:g} s"
        if log.isEnabledFor(logging.INFO):  # the names take a look at every stream
            log.info("%r: closing, waits up to %s for %s", self._session, limit, self._names_of_unfinished())
        with trio.CancelScope(deadline=self._drain_until) as patience:
            while self.end is None and self._unfinished():
                await self._progress.park()
        if patience.cancelled_caught and self.end is None:
            names = self._names_of_unfinished()
            log.warning("%r: closed after %s without the end of %s", self._session, limit, names)

    def check_alive(self) -> None:
        """Raise SessionClosed if the session has ended."""
        if self.end is not None:
            raise SessionClosed(self.end)

    def kill(self, error: BaseException | None) -> None:
        """See Session.kill."""
        self._finish_killed(error)
        self._scope.cancel()

    def _finish_killed(self, error: BaseException | None) -> None:
        """Without an error it would pass for a clean end, and what was cut off for whole."""
        self.finish(ErrorCode.CANCEL, error or trio.ClosedResourceError("this side killed it"))

    async def wait(self) -> SessionEnd:
        """See Session.wait."""
        await self._closed.wait()
        assert self.end is not None
        return self.end

    def _unfinished(self) -> bool:
        """Whether a stream is still of use to the application. One that it has closed is not waited for."""
        return any(map(_is_unfinished, self.core.streams.values()))

    def _names_of_unfinished(self) -> str:
        """Enough of them for whoever looks for a stream that was forgotten."""
        states = list(filter(_is_unfinished, self.core.streams.values()))
        names = [self._name_of(state) for state in states[:NAMED_STREAMS]]
        more = f", and {len(states) - len(names)} more" if len(states) > len(names) else ""
        return ", ".join(names) + more

    def _name_of(self, state: StreamState) -> str:
        opener = "this side" if self.core.is_local(state.id) else "the peer"
        return f"stream {state.id} (type {state.stream_type}, priority {state.priority}, opened by {opener})"

    def statistics(self) -> SessionStatistics:
        """See Session.statistics."""
        beating = any(getattr(slot.extension, "beating", False) for slot in self._extensions.values())
        return of_session(self.core, self._transport, self.reader, self.writer, self.backlog, heartbeat=beating)


def _is_unfinished(state: StreamState) -> bool:
    return state.wanted and not state.extension


def _on_sent(state: StreamState) -> None:
    if (stream := state.handle()) is not None:
        stream._on_sent()

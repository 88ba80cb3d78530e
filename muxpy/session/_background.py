"""The tasks of one session, from its beginning until its transport is closed."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._errors import only_lost, raise_first, without_cancelled
from muxpy.transport import TRANSPORT_ERRORS, ending_turns

from ._ending import Cause, SessionEvent, Stage, failed, in_order, killed
from ._group import resets_of, turns_of
from ._suspension import overslept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy.trace import Tap

    from ._engine import Engine
    from ._group import SessionGroup
    from ._handlers import Handlers

    Task = Callable[[], Awaitable[None]]

__all__ = ["Background"]

log = logging.getLogger("muxpy.session")


class Background:
    """Runs a session: reads, and closes the transport when the end is decided.

    There may be many idle sessions, and a task takes two kilobytes. So the task that runs a session is the one that
    reads, and others are started when there is something to do: to write, and to bring the session to its end.
    """

    def __init__(self, engine: Engine, tap: Tap | None) -> None:
        self._engine = engine
        self._ending = engine.ending
        self._tap = tap
        self._tasks: trio.Nursery | None = None  # while the session runs, and is not cancelled
        self._starts: list[Callable[[], None]] = []  # of tasks that wait until `run` begins
        self._extensions: list[Task] = []  # started when the peer is admitted
        self._admitted = not engine.config.wants_login
        self._membership: ExitStack | None = None  # its place in a group
        self._handlers: Handlers | None = None  # those of `serve`, while streams may come
        self._owner: trio.Nursery | None = None  # of what runs until the session has ended, or a little longer
        self._carried: list[trio.CancelScope] = []
        self.bug: BaseException | None = None
        """An exception that a task of the session should not have raised."""
        # Logged here, not in `run`: the program may be faster than these tasks, and send or kill before they run.
        transport = engine.transport
        version = transport.tls.version() if transport.tls is not None else None
        log.info("%s begins%s", engine.name, f", {version}" if version else "")
        if tap is not None:
            tap.begin(
                client=engine.core.client, local=transport.local_address, remote=transport.remote_address, tls=version
            )

    def add_extension(self, run: Task) -> None:
        """Run this too, as soon as the peer is admitted."""
        self._extensions.append(run)

    def start_soon(self, task: Task) -> None:
        """Run this too, in the caller's context (contextvars). After the session has ended, this does nothing."""
        if self._tasks is not None:
            self._start(task)
        elif self._ending.end is None:
            self._starts.append(partial(copy_context().run, self._start, task))

    # ---- running ----

    def start(self, nursery: trio.Nursery) -> None:
        """Have `nursery` run all that belongs to the session."""
        self._owner = nursery
        nursery.start_soon(self.run)

    def carry(self, task: Task) -> None:
        """Run this for the session. After the session's end it may take `linger_timeout` for what has arrived."""
        assert self._owner is not None
        self._owner.start_soon(self._carry, task)

    async def _carry(self, task: Task) -> None:
        with trio.CancelScope() as scope:
            self._carried.append(scope)
            try:
                await self._guard(task)
            finally:
                self._carried.remove(scope)

    def _end_carried(self) -> None:
        end = self._ending.end
        killed = end is not None and end.code == ErrorCode.CANCEL and not end.by_peer
        time = 0.0 if killed else self._engine.config.linger_timeout
        for scope in self._carried:
            scope.deadline = trio.current_time() + time

    async def run(self) -> None:
        """Everything that happens in the background, until the transport is closed."""
        engine = self._engine
        try:
            async with trio.open_nursery() as nursery:
                self._begin(nursery)
                try:
                    await self._read_first_frame()
                    await engine.lead.run()
                except Exception as bug:
                    self._on_bug(bug)
                except BaseException:
                    self._tasks = None
                    raise
        finally:
            if self._ending.end is None:  # cancelled from outside, or by a KeyboardInterrupt
                engine.decide(SessionEvent.KILL, killed(None))
            self._leave_group()
            try:
                with trio.CancelScope(shield=True):
                    await self._wake_all()
                    await trio.aclose_forcefully(engine.transport)
            except TRANSPORT_ERRORS as error:
                log.debug("%s: closing the transport: %s", engine.name, error)
            finally:
                engine.decide(SessionEvent.CLOSED)
                if self._tap is not None and self._ending.end is not None:
                    self._tap.end(self._ending.end)  # only now: the last words were sent after the end was decided
                self._ending.closed = True
                self._ending.news()
                self._end_carried()
                self._drop_references()

    async def serve(self, handlers: Handlers) -> None:
        """`run`, in a session that has no other purpose: see `serve_alone`."""
        backlog, failure = self._engine.backlog, None
        self._handlers = handlers
        backlog.serve(handlers, self._on_going_away)
        try:
            await self.run()
        except BaseException as error:
            failure = error
        backlog.end_serving()
        handlers.close()
        raise_first(without_cancelled(failure) if failure is not None else None, failure, self.bug)
        await handlers.all_done()
        self._ending.check_order()

    def _on_going_away(self) -> None:
        """Nobody waits for the session, to close it when no more streams come: a task is started for that."""
        handlers = self._handlers
        if self._tasks is not None and handlers is not None and self._engine.core.goaway_sent:
            self._handlers = None
            self._start(partial(self._close_after, handlers))

    async def _close_after(self, handlers: Handlers) -> None:
        handlers.close()
        await handlers.all_done()
        self._ending.drain_until = trio.current_time() + self._engine.config.drain_timeout
        self._engine.decide(SessionEvent.FINISHED, in_order(self._engine.core.remote_goaway))

    def _begin(self, nursery: trio.Nursery) -> None:
        engine = self._engine
        self._tasks = nursery
        engine.wakings.spawn = self._start
        engine.writer.start(self._start_writing)
        if engine.config.idle_timeout is not None:
            self._start(partial(self._watch_idle, engine.config.idle_timeout))
        for start in self._starts:
            start()
        self._starts.clear()
        if self._admitted:
            self._start_extensions()
        if self._ending.end is None:
            self._ending.on_decided = self._start_ending
        elif self._ending.stage is Stage.ENDED:
            self._stop()
        else:
            self._start_ending()
        self._on_going_away()

    def _start_writing(self) -> None:
        self._start(self._write)

    def _start_ending(self) -> None:
        self._start(self._end)

    def _stop(self) -> None:
        """Cancel all tasks of the session."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
            self._tasks = None  # the nursery may be closed as soon as its tasks have ended

    def _drop_references(self) -> None:
        """Break the reference cycles, so that an ended session is freed as soon as nobody refers to it. If these were
        left to the cycle collector, sessions that come and go would make it stop everything for a tenth of a second at
        a time."""
        self._tasks = self._owner = None
        self._handlers = None
        self._starts.clear()
        self._extensions.clear()
        self._engine.wakings.spawn = self._ending.on_decided = None
        self._engine.reader.drop_references()
        self._engine.writer.drop_references()

    def _start(self, task: Task) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(self._guard, task)

    async def _guard(self, task: Task) -> None:
        """A bug must not leave anyone waiting: end the session, and let its opener see the exception."""
        bug = None
        try:
            await task()
        except BaseException as error:
            bug = without_cancelled(error)
            if not isinstance(bug, Exception):
                raise  # a cancellation, or a KeyboardInterrupt that was raised here by chance
            self._on_bug(bug)
        finally:
            del bug  # whose frames are this one, too: a circle

    def _on_bug(self, bug: Exception) -> None:
        if self._ending.end is not None and only_lost(bug):
            return  # the session ended while the task used it: that is not a bug
        log.exception("%s: internal error", self._engine.name)
        self.bug = bug
        self._engine.fail(bug)

    async def _wake_all(self) -> None:
        self._engine.lead.interrupt()
        wakings = self._engine.wakings
        wakings.add(self._engine.core.streams.values())
        await wakings.run()

    # ---- who takes part ----

    def join(self, group: SessionGroup) -> None:
        """Belong to `group`, and to no other group."""
        self._leave_group()
        self._engine.transport.turns = turns_of(group)
        self._membership = ExitStack()
        self._membership.enter_context(turns_of(group).member())
        self._engine.core.share_resets(*resets_of(group))

    def _leave_group(self) -> None:
        if self._membership is not None:
            self._membership.close()

    def admit(self) -> None:
        """See Session.admit."""
        if self._admitted:
            return
        self._admitted = True
        self._engine.transport.allowance = None
        self._engine.core.admit()
        self._engine.writer.poke()  # the core may have queued a frame about it
        if self._ending.end is None and self._tasks is not None:  # otherwise `run` has yet to begin, and starts them
            self._start_extensions()

    def _start_extensions(self) -> None:
        for run in self._extensions:
            self._start(run)

    # ---- the tasks ----

    async def _write(self) -> None:
        writer = self._engine.writer
        await writer.run()
        if writer.error is None:
            return
        # Writing failed. The peer's last words, such as a GOAWAY with the reason, may still be there to read.
        with trio.move_on_after(self._engine.config.linger_timeout):
            await self._ending.until(self._has_read)
        self._engine.decide(SessionEvent.FAILED, failed(writer.error))

    def _has_read(self) -> bool:
        """Whether the transport has ended. It is read after an error too: the peer's end shows that it has read all."""
        return self._engine.reader.over

    async def _read_first_frame(self) -> None:
        """End the session if the client sends no whole frame in time; suspensions of this process do not count. Only
        servers watch: a client may connect long before a server has anything to say, but a client that connects wants
        something. With a heartbeat, which is the default, it sends a frame immediately.

        It is a limit for the reader, and no task beside it: many clients may say nothing.
        """
        engine, counters, limit = self._engine, self._engine.core.counters, self._engine.config.first_frame_timeout
        if limit is None or engine.core.client:
            return
        while not counters.frames_received and not engine.reader.over:
            due = trio.current_time() + limit
            with trio.CancelScope(deadline=due) as engine.reader.first_frame:
                await engine.lead.run(first_frame=True)
            if not counters.frames_received and not engine.reader.over and not overslept(due):
                reason = f"no frame was received within {limit:g} s"
                engine.give_up(ProtocolError(ErrorCode.PROTOCOL_ERROR, reason))
                return

    async def _watch_idle(self, limit: float) -> None:
        while (left := self._idle_time_left(limit)) > 0:  # noqa: ASYNC110 - sleeps until the time that it is due
            await trio.sleep(left)
        self._engine.core.go_away(ErrorCode.NO_ERROR, b"idle")
        self._engine.decide(SessionEvent.FINISHED, Cause())

    def _idle_time_left(self, limit: float) -> float:
        since = self._engine.unused_since
        if since is None:
            return limit  # the time begins only when the last stream has gone
        return since + limit - trio.current_time()

    async def _end(self) -> None:
        """It is decided how the session ends: bring it to its end."""
        try:
            with ending_turns().member():
                await ending_turns().in_turn()
                await self._wake_all()
                await self._linger()
                await ending_turns().in_turn()
        finally:
            self._stop()

    async def _linger(self) -> None:
        """Lingering close: have the last words written, and give the peer time to read them.

        Closing a TCP socket while the peer still sends makes the kernel reset the connection, and that destroys data
        that the peer has not read. So this side ends its own direction, and reads on until the peer has ended too. It
        waits for at most `linger_timeout`, or after `aclose` for what is left of `drain_timeout`, if that is longer.
        """
        transport, reader = self._engine.transport, self._engine.reader
        deadline = trio.current_time() + self._engine.config.linger_timeout
        if transport.half_closeable:
            # The peer ends its direction when it has read all. Until then data may be on a slow link, and closing could
            # destroy it.
            deadline = max(deadline, self._ending.drain_until)
        with trio.CancelScope(deadline=deadline):
            await self._engine.writer.drained()
            try:
                if not reader.over:
                    await transport.send_eof()
                    await self._ending.until(self._has_read)
                await transport.aclose()
            except TRANSPORT_ERRORS:
                pass  # it is closed below in any case

    # ---- what the application does ----

    def kill(self, error: BaseException | None) -> None:
        """See Session.kill."""
        self._engine.decide(SessionEvent.KILL, killed(error))
        self._stop()

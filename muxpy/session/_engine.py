"""The engine below a session, its streams and their splices: the core, the reader, the writer, and the end.

The way in: the reader feeds the core, and `on_changes` wakes the tasks that the changes concern.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._errors import StreamReset

from ._backlog import Backlog
from ._ending import Cause, Ending, SessionEvent, Stage, broken, failed, lost
from ._lead import Lead
from ._opening import Openers
from ._reader import Reader
from ._waiting import Wakings
from ._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from muxpy._config import SessionConfig
    from muxpy.proto import Changes, Core, Fields, StreamState
    from muxpy.trace import Tap
    from muxpy.transport import Transport

__all__ = ["Engine", "reset_error"]

log = logging.getLogger("muxpy.session")

DRAINING: Final = Stage.DRAINING
"""Found once, since each stream asks for it several times."""


class Engine:
    """The parts of one session, and the calls from one part to another."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        core: Core,
        config: SessionConfig,
        clock: Callable[[], float],
        *,
        extension_types: Iterable[int] = (),
        tap: Tap | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.transport = transport
        self.core = core
        self.clock = clock
        self.reader = Reader(transport, core, self, self.clock, tap)
        self.lead = Lead(self.reader, transport)
        self.writer = Writer(transport, core.sending, self.clock, tap)
        self.ending = Ending()
        self.backlog = Backlog(core, self.lead)
        self.extension_backlogs = {kind: Backlog(core, self.lead) for kind in extension_types}
        self.wakings = Wakings()
        self.openers = Openers(core, self.ending, self.writer, self.lead.comes_back, config.max_control_frames)
        self.unused_since: float | None = clock()  # since when no stream is open; kept if there is an `idle_timeout`

    # ---- news from the reader ----

    def on_changes(self, changes: Changes) -> int:
        """Wake the tasks that the received bytes concern. It runs in the task that reads, so it waits for nothing."""
        writer = self.writer
        readable, opened = len(changes.readable), len(changes.opened)
        woken = readable + len(changes.direct) + opened + len(changes.writable)
        # Whoever is started for a stream that brings its first data too answers once.
        writer.pacing.received(woken - min(readable, opened))
        for state in changes.opened:
            backlog = self.extension_backlogs[state.stream_type] if state.extension else self.backlog
            backlog.add(state)
        for state in changes.direct:
            if state.handle is not None:
                state.handle.arrived()
        for state in changes.readable:
            if state.handle is not None:
                state.handle.readable()
        for state in changes.writable:
            if state.handle is not None:
                state.handle.writable()
        if changes.reset:
            self.wakings.wake(changes.reset)
        if changes.may_open_again:
            self.openers.wake()
        if changes.going_away:
            self._on_going_away()
        if self.core.sending.needs_writer():
            writer.poke()
        if changes.streams:
            self.streams_changed()
        return woken

    def on_lone(self, stream: StreamState) -> None:
        """`on_changes`, for data of one stream and nothing else."""
        self.writer.pacing.received(1)
        if stream.handle is not None:
            stream.handle.readable()

    def _on_going_away(self) -> None:
        if self.core.error is not None:
            self.decide(SessionEvent.BROKEN, broken(self.core.error))
        else:
            self.decide(SessionEvent.GOAWAY)

    def on_transport_output(self) -> None:
        """TLS has something of its own to send."""
        self.writer.poke()

    def on_eof(self, error: BaseException | None) -> None:
        """The transport ended: see `lost`."""
        core = self.core
        whole = core.receive_eof()
        # The system reports a reset connection only once, to the reader or to the writer; the other sees an ordinary
        # end. With TLS, the reader then sees an end without close_notify, which says less than the writer's error.
        if not isinstance(error, OSError):
            error = self.writer.error or error
        cause = lost(
            core.error,
            core.remote_goaway,
            error,
            whole=whole,
            draining=self.ending.draining,
            wordless=core.client and not self.reader.bytes_received and self.transport.tls is None,
        )
        self.decide(SessionEvent.LOST, cause)

    def on_over(self) -> None:
        """Nothing more is read."""
        self.ending.news()

    def streams_changed(self) -> None:
        """A stream was opened or may have finished."""
        if self.openers.waiting:
            self.openers.wake()
        if self.config.idle_timeout is not None:
            self._note_use()
        if self.ending.stage is DRAINING:
            self.ending.news()
        elif self.core.used_up and self.ending.end is None:
            self._end_when_used_up()

    def _note_use(self) -> None:
        if self.core.open_streams:
            self.unused_since = None
        elif self.unused_since is None:
            self.unused_since = self.clock()

    def _end_when_used_up(self) -> None:
        """No stream ids are left, and GOAWAY was sent: the session ends with the last stream."""
        self.decide(SessionEvent.GOAWAY)
        self.backlog.wake()
        if not any(self.unfinished()):
            self.ending.drain_until = self.clock() + self.config.drain_timeout
            self.decide(SessionEvent.FINISHED, Cause())

    def unfinished(self) -> Iterator[StreamState]:
        """Streams that the application still uses. A close does not wait for streams that it has closed."""
        return (state for state in self.core.streams.values() if state.wanted and not state.extension)

    # ---- what the application does to a stream ----

    def finish(self, state: StreamState, trailers: Fields = ()) -> None:
        """End the direction to the peer (half-close)."""
        if self.core.finish(state, trailers):
            if self.core.sending.has_output:  # it may have gone with the last data
                self.writer.poke()
            self.streams_changed()
            if state.phase.over and state.handle is not None:
                state.handle.ended()

    def ended_small(self, state: StreamState) -> None:
        """A direction was ended by a small message, which is framed: have it written soon."""
        self.writer.small_framed()
        self.streams_changed()
        if state.phase.over and state.handle is not None:
            state.handle.ended()

    def end_stream(self, state: StreamState, code: int | None) -> None:
        """Close a stream, or reset it with `code`. Does nothing if that was done before."""
        if state.closed:
            return
        if state.handle is not None and state.handle.unsent:
            self.writer.withdraw(state)
        if code is None and self.ending.end is not None:
            # The last words of the session may still be written, but not the data that this stream had left: with a
            # FIN, the peer would take the part for the whole.
            code = ErrorCode.CANCEL
        was_over = state.phase.over
        if code is None:
            self.core.close(state)
        else:
            self.core.reset(state, code)
        if state.handle is not None:
            state.handle.ended()
        self.lead.interrupt(state)
        if not was_over:  # otherwise the peer knows of its end, and so does this side
            self.acted()

    def check_end(self, state: StreamState) -> None:
        """Nothing is left to receive: raise the error that says why, unless the peer ended its direction in order."""
        if state.closed:
            raise trio.ClosedResourceError("this stream was closed")
        if state.phase.peer_done:  # also if it has then reset the stream, to be spared what this side still sends
            return
        if state.reset_code is not None:
            raise reset_error(state)
        self.ending.check_alive()

    def acted(self) -> None:
        """The application did something: the peer may have to be told, and it may have ended the last stream."""
        if self.core.sending.needs_writer():  # often it is told already: a stream ends with its last data
            self.writer.poke()
        self.streams_changed()

    # ---- the end ----

    def decide(self, event: SessionEvent, cause: Cause | None = None) -> None:
        """Something happens to the session: see `_ending`. If that decides how the session ends, all tasks that wait
        look again. Tasks that wait on streams are woken in turns (`Wakings`), since they may be many."""
        if cause is not None:
            cause = Cause(self.core.own_code(cause.code), cause.error, cause.by_peer)
        decided = self.ending.happens(event, cause, self.core.remote_goaway)
        self.openers.wake_all()
        if not decided:
            return
        log.info("%s: %s", self.name, self.ending.end)
        self.writer.wake_waiters()
        for backlog in (self.backlog, *self.extension_backlogs.values()):
            backlog.wake()

    def give_up(self, error: ProtocolError) -> None:
        """End the session for a rule that the peer broke by sending nothing."""
        self.core.fail(error)
        self._on_going_away()

    def fail(self, bug: BaseException) -> None:
        """A bug ends the session, so that nobody waits for ever."""
        self.core.fail(ProtocolError(ErrorCode.INTERNAL_ERROR, "internal error"))
        self.writer.uncork()  # the writer's task may be what failed: the last words go now, or not at all
        self.decide(SessionEvent.FAILED, failed(bug))


def reset_error(state: StreamState) -> StreamReset:
    """The error of a stream that was reset."""
    assert state.reset_code is not None
    return StreamReset(state.id, state.reset_code, by_peer=state.reset_by_peer, retryable=state.retryable)

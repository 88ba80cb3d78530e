"""A session: many streams over one transport. What users call; _engine and _background do it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Protocol, Self

import trio

from muxpy._codes import ErrorCode, check_code
from muxpy._config import check_number
from muxpy._errors import SessionClosed, SessionEnd, SessionGoingAway, only_lost
from muxpy.proto import Opening

from ._closing import close, go_away
from ._ending import Stage
from ._listener import SessionListener
from ._statistics import SessionStatistics, of_session
from ._stream import Stream
from ._watching import watched

if TYPE_CHECKING:
    import ssl

    from muxpy._config import SessionConfig
    from muxpy.proto import StreamState
    from muxpy.transport import Address

    from ._background import Background
    from ._backlog import Backlog
    from ._engine import Engine
    from ._group import SessionGroup
    from ._watching import Cut

__all__ = ["Accept", "Extension", "Session"]

log = logging.getLogger("muxpy.session")

Handler = Callable[[Stream], Awaitable[object]]

Accept = Callable[[], Awaitable[Stream]]
"""Waits for the next stream of the extension's type that the peer opens; raises SessionClosed at the end."""


class Extension(Protocol):
    """What a session asks of an extension."""

    @property
    def stream_type(self) -> int:
        """The type of its streams, MIN_EXTENSION_TYPE or more."""

    async def run(self, session: Session, accept: Accept) -> None:
        """Runs as a task of the session, is cancelled when the session has ended, and may return early.

        An exception it raises is taken for a bug: it ends the session with INTERNAL_ERROR and comes out of
        `open_session`, or is the cause of the SessionClosed that does.
        """


class Session:
    """One side of a session. Made by `open_session` and its relatives, which also close it.

    Both sides may open streams and accept the other's. Iterating over a session accepts streams until the
    session ends; it raises SessionClosed if it ended with an error or was killed.
    """

    def __init__(self, engine: Engine, background: Background, extensions: Mapping[int, Extension]) -> None:
        self._engine = engine
        self._background = background
        self._extensions = extensions
        for stream_type, extension in extensions.items():
            backlog = engine.extension_backlogs[stream_type]
            background.add_extension(partial(self._run_extension, extension, backlog))

    @property
    def config(self) -> SessionConfig:
        """The limits and times that it was opened with."""
        return self._engine.config

    @property
    def client(self) -> bool:
        """Whether this side is the client, which opens the streams of odd ids."""
        return self._engine.core.client

    @property
    def local_address(self) -> Address:
        """This end's address of the transport, as sockets have it; None if it has none."""
        return self._engine.transport.local_address

    @property
    def remote_address(self) -> Address:
        """The peer's address of the transport; None if it has none."""
        return self._engine.transport.remote_address

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection, for its certificates, cipher and version, if muxpy made it (`ssl_context`)."""
        return self._engine.transport.tls

    def __repr__(self) -> str:
        return self._engine.name

    # ---- streams ----

    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream:
        """Open a stream. The peer accepts it later, or refuses it: an operation on it then raises StreamReset
        with `retryable` set. Data may be sent at once.

        `priority`: 0 to 2^31-1, a larger share of the session for a higher one. `stream_type`: a number for
        the peer to tell streams apart. `fin`: send nothing on it, only receive.

        Raises SessionGoingAway if no streams can be opened any more, SessionClosed if the session has ended.
        """
        engine = self._engine
        opening = Opening(index(priority), index(stream_type))
        stream = self._stream(await engine.openers.open(opening, fin=fin))
        # Not written yet: with the first data, if that comes this turn. A peer that speaks first gets it soon.
        engine.acted()
        return stream

    def _stream(self, state: StreamState) -> Stream:
        return Stream(self, self._engine, state)

    async def accept_stream(self) -> Stream:
        """Wait for the next stream that the peer opens.

        Raises SessionClosed when the session has ended, SessionGoingAway once no more streams can come because
        this side has said `go_away`, and trio.BusyResourceError while `serve_streams` takes them.
        """
        return self._stream(await self._engine.backlog.accept_directly(self._check_acceptable))

    def __aiter__(self) -> AsyncIterator[Stream]:
        return self

    async def __anext__(self) -> Stream:
        try:
            return await self.accept_stream()
        except SessionGoingAway:
            raise StopAsyncIteration from None
        except SessionClosed as closed:
            if closed.end is not None and closed.end.error is None:
                raise StopAsyncIteration from None
            raise

    async def serve_streams(self, handler: Handler, *, cancel_handlers: bool = False) -> None:
        """Run `handler(stream)` in a task of its own for each stream that the peer opens, until the session ends
        or goes away, and all handlers have returned.

        A stream is closed when its handler returns. A handler that raises has its stream reset with
        INTERNAL_ERROR and logged; the session and the other handlers go on.

        What a handler does on its stream fails when the peer resets it, or the session ends; a handler that is busy
        with something else goes on. With `cancel_handlers` it is cancelled then, so that nothing is worked out for
        nobody: also what it has received and not read is lost. The peer's EOF cancels nothing, nor does a stream that
        ended in order in both directions, or that the handler closed or reset itself: see `Stream.wait_ended`.

        Raises SessionClosed if the session ended with an error, or was killed.
        """
        backlog, ending = self._engine.backlog, self._engine.ending
        if backlog.served:
            raise trio.BusyResourceError("serve_streams is already running on this session")
        handle = self._handle_while_wanted if cancel_handlers else self._handle
        async with trio.open_nursery() as nursery:

            def serve(state: StreamState) -> None:
                nursery.start_soon(handle, handler, state)

            with backlog.serving(serve):
                while ending.end is None and not self._engine.core.goaway_sent:
                    await backlog.wait()
        if ending.end is not None and ending.end.error is not None:
            raise SessionClosed(ending.end)

    async def _handle(self, handler: Handler, state: StreamState) -> None:
        stream = self._stream(state)
        try:
            await handler(stream)
        except Exception as error:
            if only_lost(error):
                log.info("%r: handler ended: %s", stream, error)
            else:
                log.exception("%r: handler failed, the stream is reset", stream)
            stream.reset(ErrorCode.INTERNAL_ERROR)
        except BaseException:
            stream.reset(ErrorCode.CANCEL)
            raise
        else:
            self._engine.end_stream(state, None)
        finally:
            self._engine.core.let_go(state)

    async def _handle_while_wanted(self, handler: Handler, state: StreamState) -> None:
        """Run a handler, and cancel it when something cuts its stream short."""
        scope = trio.CancelScope()
        cut: Cut = None

        def tell(by: Cut) -> None:
            nonlocal cut
            cut = by
            if by is not None:
                scope.cancel()

        async def run(stream: Stream) -> None:
            with scope, watched(self._engine, state, tell):
                await handler(stream)
            if scope.cancelled_caught:
                log.info("%r: handler cancelled: %s", stream, cut)

        await self._handle(run, state)

    async def _run_extension(self, extension: Extension, backlog: Backlog) -> None:
        """Run an extension. Streams that it does not take, then or later, are reset."""

        async def accept() -> Stream:
            return self._stream(await backlog.accept(self._engine.ending.check_alive))

        try:
            await extension.run(self, accept)
        finally:
            backlog.close(ErrorCode.STREAM_CLOSED)
            self._engine.acted()

    def listener(self) -> SessionListener:
        """The session's incoming streams as a trio.abc.Listener, for `trio.serve_listeners` and its like; see
        docs/guide.md for how those end.

        Once it was closed, streams of the peer are refused, if nothing else takes them.
        """
        return SessionListener(self, self._engine, self._check_acceptable)

    async def dial(
        self,
        host: str | bytes | None = None,
        port: int | None = None,
        *,
        happy_eyeballs_delay: float | None = None,
        local_address: str | None = None,
    ) -> Stream:
        """`open_stream` with the signature of `trio.open_tcp_stream`, for clients that take such a function. All
        arguments are ignored: there is one place to go, the peer, and a stream has no address of its own.
        """
        return await self.open_stream()

    def admit(self, group: SessionGroup | None = None) -> None:
        """The peer has shown who it is: from now on it may do what the config allows, its heartbeats are answered, and
        the session counts as one of `group`, if that is given. See `SessionConfig.wants_login`.

        Does nothing more if it was admitted before, or the session has ended.
        """
        if self._engine.ending.end is None and group is not None:
            self._background.join(group)
        self._background.admit()

    def allow_streams(self, most: int) -> None:
        """Let the peer have `most` streams open from now on, and as many wait to be accepted, in place of
        `config.max_streams` and `config.accept_backlog`: who it is, or what was agreed with it, may be known only after
        the session has begun. Streams that are open already stay. The bounds of memory change with it: see
        SessionConfig. Raises TypeError or ValueError if it is no whole number of at least 0.
        """
        check_number("most", most, "int")
        self._engine.core.allow_streams(most)
        self._engine.writer.poke()  # the core may tell the peer

    # ---- ending ----

    def go_away(self, code: int = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> bool:
        """Tell the peer to open no more streams; open ones go on, and this side may still open its own.

        `code` and `debug` (at most 1 KiB) tell it why. With `final=False`, streams that the peer opened before it could
        know are still taken, and not refused; a later `go_away()` or `aclose` says the last word.

        Returns whether it was said: False if that was done before, or the session has ended.
        """
        check_code(code)
        return go_away(self._engine, code, debug, final=final)

    @property
    def going_away(self) -> bool:
        """Whether this side can open no more streams: the peer has said GOAWAY, the stream ids are used up, or the
        session is being closed or has ended.
        """
        return self._engine.ending.stage is not Stage.OPEN

    async def wait_going_away(self) -> None:
        """Wait until `going_away`. A program that goes on without a gap opens its next session then."""
        await self._engine.ending.going_away.wait()

    async def aclose(self, *, announce: bool = False) -> None:
        """End the session in order: GOAWAY, up to `config.drain_timeout` seconds for open streams to finish, then
        close the transport once the peer has had the chance to read what was sent. If cancelled: `kill`.

        With `announce`, no stream is refused that the peer opened before it could know: the session first says
        `go_away(final=False)`, and goes on as it was until the peer has answered with its own GOAWAY, or for all of
        `config.drain_timeout`. For peers that are known to answer, as `wait_going_away` has a program do.
        """
        await close(self._engine, self._background, announce=announce)

    def kill(self, error: BaseException | None = None) -> None:
        """End the session immediately, without a word to the peer. Whoever waits, or serves or iterates over streams,
        gets SessionClosed; its cause is `error`, or a trio.ClosedResourceError that says who did it."""
        self._background.kill(error)

    @property
    def end(self) -> SessionEnd | None:
        """How the session ended; None while it goes on. What it said last may still be on its way: see `wait`."""
        return self._engine.ending.end

    async def wait(self) -> SessionEnd:
        """Wait until the session has ended and its transport is closed; how it ended."""
        await self._engine.ending.closed.wait()
        assert self._engine.ending.end is not None
        return self._engine.ending.end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ---- for extensions and the curious ----

    def statistics(self) -> SessionStatistics:
        """Counters and sizes now; cheap."""
        beating = any(getattr(extension, "beating", False) for extension in self._extensions.values())
        return of_session(self._engine, heartbeat=beating)

    def silence(self) -> float:
        """Seconds since the last byte was received."""
        return trio.current_time() - self._engine.reader.last_received

    def report_rtt(self, seconds: float) -> None:
        """Tell the session a round trip that was measured, for window growth and `statistics().rtt`."""
        self._engine.core.sample_rtt(seconds)

    # ---- checks ----

    def _check_acceptable(self) -> None:
        self._engine.ending.check_alive()
        if self._engine.core.goaway_sent:
            raise SessionGoingAway("this side has said go_away: no more streams will come")

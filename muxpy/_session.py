"""A session: many streams over one transport. What users call; see _lifecycle for how it lives and ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Self

import trio

from ._adapters import SessionListener
from ._codes import ErrorCode, check_code, printable
from ._config import check_number
from ._errors import SessionClosed, SessionEnd, SessionGoingAway, StreamReset, only_lost
from ._lifecycle import Lifecycle
from ._stream import Stream
from .frame import MAX_PRIORITY, MAX_STREAM_TYPE

if TYPE_CHECKING:
    import ssl

    from ._config import SessionConfig
    from ._group import SessionGroup
    from ._statistics import SessionStatistics
    from ._transport import Address, Transport
    from .ext import Extension

__all__ = ["Session"]

log = logging.getLogger("muxpy.session")

Handler = Callable[[Stream], Awaitable[object]]


class Session:
    """One side of a session. Made by `open_session` and its relatives, which also close it.

    Both sides may open streams and accept the other's. Iterating over a session accepts streams until the
    session ends; it raises SessionClosed if it ended with an error or was killed.
    """

    def __init__(
        self, transport: Transport, *, client: bool, config: SessionConfig, extensions: Iterable[Extension]
    ) -> None:
        self._config = config
        self._client = client
        self._local_address = transport.local_address
        self._remote_address = transport.remote_address
        self._tls = transport.tls
        self._life = Lifecycle(self, transport, extensions)
        self._core = self._life.core
        self._writer = self._life.writer
        self._backlog = self._life.backlog

    @property
    def config(self) -> SessionConfig:
        """The limits and times that it was opened with."""
        return self._config

    @property
    def client(self) -> bool:
        """Whether this side is the client, which opens the streams of odd ids."""
        return self._client

    @property
    def local_address(self) -> Address:
        """This end's address of the transport, as sockets have it; None if it has none."""
        return self._local_address

    @property
    def remote_address(self) -> Address:
        """The peer's address of the transport; None if it has none."""
        return self._remote_address

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection, for its certificates, cipher and version, if muxpy made it (`ssl_context`)."""
        return self._tls

    def __repr__(self) -> str:
        role = "client" if self._client else "server"
        return f"<muxpy.Session {role} {printable(str(self._remote_address or id(self)))}>"

    # ---- streams ----

    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream:
        """Open a stream. The peer accepts it later, or refuses it: an operation on it then raises StreamReset
        with `retryable` set. Data may be sent at once.

        `priority`: 0 to 2^31-1, a larger share of the session for a higher one. `stream_type`: a number for
        the peer to tell streams apart. `fin`: send nothing on it, only receive.

        Raises SessionGoingAway if no streams can be opened any more, SessionClosed if the session has ended.
        """
        priority, stream_type = index(priority), index(stream_type)
        if not 0 <= priority <= MAX_PRIORITY:
            raise ValueError(f"priority must lie between 0 and 2^31-1, it is {priority!r}")
        if not 0 <= stream_type <= MAX_STREAM_TYPE:
            raise ValueError(f"stream_type must lie between 0 and 2^32-1, it is {stream_type!r}")
        await trio.lowlevel.checkpoint()
        self._check_openable()
        while self._core.control_frames > self._config.max_control_frames // 2:
            await self._writer.turn()
            self._check_openable()
        stream = Stream(self, self._core.open(priority, stream_type, fin=fin))
        # Not written yet: with the first data, if that comes this turn. A peer that speaks first gets it soon.
        self._writer.poke()
        self._life.streams_changed()
        return stream

    async def accept_stream(self) -> Stream:
        """Wait for the next stream that the peer opens.

        Raises SessionClosed when the session has ended, SessionGoingAway once no more streams can come because
        this side has said `go_away`, and trio.BusyResourceError while `serve_streams` takes them.
        """
        return await self._backlog.accept_directly(self._check_acceptable)

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
        if self._backlog.served:
            raise trio.BusyResourceError("serve_streams is already running on this session")
        run = partial(_run_while_wanted, handler) if cancel_handlers else handler
        async with trio.open_nursery() as nursery:

            def serve(stream: Stream) -> None:
                nursery.start_soon(self._handle, run, stream)

            with self._backlog.serving(serve):
                while self._life.end is None and not self._core.goaway_sent:
                    await self._backlog.wait()
        end = self._life.end
        if end is not None and end.error is not None:
            raise SessionClosed(end)

    async def _handle(self, handler: Handler, stream: Stream) -> None:
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
            stream._close_now()
        finally:
            self._core.let_go(stream._state)

    def listener(self) -> SessionListener:
        """The session's incoming streams as a trio.abc.Listener, for `trio.serve_listeners` and its like; see
        docs/guide.md for how those end.

        Once it was closed, streams of the peer are refused, if nothing else takes them.
        """
        return SessionListener(self, self._backlog, self._check_acceptable)

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
        if self._life.end is None and group is not None:
            self._life.join(group)
        self._life.admit()

    def allow_streams(self, most: int) -> None:
        """Let the peer have `most` streams open from now on, and as many wait to be accepted, in place of
        `config.max_streams` and `config.accept_backlog`: who it is, or what was agreed with it, may be known only after
        the session has begun. Streams that are open already stay. The bounds of memory change with it: see
        SessionConfig. Raises TypeError or ValueError if it is no whole number of at least 0.
        """
        check_number("most", most, "int")
        self._core.allow_streams(most)

    # ---- ending ----

    def go_away(self, code: int = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> bool:
        """Tell the peer to open no more streams; open ones go on, and this side may still open its own.

        `code` and `debug` (at most 1 KiB) tell it why. With `final=False`, streams that the peer opened before it could
        know are still taken, and not refused; a later `go_away()` or `aclose` says the last word.

        Returns whether it was said: False if that was done before, or the session has ended.
        """
        check_code(code)
        if self._life.end is not None or not self._core.go_away(code, debug, final=final):
            return False
        self._writer.poke()
        self._backlog.wake()
        return True

    @property
    def going_away(self) -> bool:
        """Whether this side can open no more streams: the peer has said GOAWAY, the stream ids are used up, or the
        session is being closed or has ended.
        """
        return self._life.end is not None or self._life.closing or not self._core.can_open

    async def wait_going_away(self) -> None:
        """Wait until `going_away`. A program that goes on without a gap opens its next session then."""
        await self._life.going_away.wait()

    async def aclose(self, *, announce: bool = False) -> None:
        """End the session in order: GOAWAY, up to `config.drain_timeout` seconds for open streams to finish, then
        close the transport once the peer has had the chance to read what was sent. If cancelled: `kill`.

        With `announce`, no stream is refused that the peer opened before it could know: the session first says
        `go_away(final=False)`, and goes on as it was until the peer has answered with its own GOAWAY, or for all of
        `config.drain_timeout`. For peers that are known to answer, as `wait_going_away` has a program do.
        """
        await self._life.aclose(announce=announce)

    def kill(self, error: BaseException | None = None) -> None:
        """End the session immediately, without a word to the peer. Whoever waits, or serves or iterates over streams,
        gets SessionClosed; its cause is `error`, or a trio.ClosedResourceError that says who did it."""
        self._life.kill(error)

    @property
    def end(self) -> SessionEnd | None:
        """How the session ended; None while it goes on. What it said last may still be on its way: see `wait`."""
        return self._life.end

    async def wait(self) -> SessionEnd:
        """Wait until the session has ended and its transport is closed; how it ended."""
        return await self._life.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ---- for extensions and the curious ----

    def statistics(self) -> SessionStatistics:
        """Counters and sizes now; cheap."""
        return self._life.statistics()

    def silence(self) -> float:
        """Seconds since the last byte was received."""
        return trio.current_time() - self._life.reader.last_received

    def report_rtt(self, seconds: float) -> None:
        """Tell the session a round trip that was measured, for window growth and `statistics().rtt`."""
        self._core.sample_rtt(seconds)

    # ---- checks ----

    def _check_openable(self) -> None:
        if self._life.end is not None:
            raise SessionClosed(self._life.end, retryable=True)  # on another session: nothing was sent
        if not self._core.can_open:
            raise SessionGoingAway(
                "the peer is going away" if self._core.remote_goaway else "the session has used up its stream ids"
            )
        if self._life.closing:
            raise SessionGoingAway("this session is being closed")

    def _check_acceptable(self) -> None:
        self._life.check_alive()
        if self._core.goaway_sent:
            raise SessionGoingAway("this side has said go_away: no more streams will come")


async def _run_while_wanted(handler: Handler, stream: Stream) -> None:
    """Run a handler, and cancel it when something cuts its stream short."""
    scope = trio.CancelScope()
    cut: StreamReset | SessionClosed | None = None

    def on_over(by: StreamReset | SessionClosed | None) -> None:
        nonlocal cut
        cut = by
        if by is not None:
            scope.cancel()

    with scope, stream._watched(on_over):
        await handler(stream)
    if scope.cancelled_caught:
        log.info("%r: handler cancelled: %s", stream, cut)

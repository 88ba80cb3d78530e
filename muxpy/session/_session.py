"""A session: many streams over one transport. It is what users call; `_engine` and `_background` do the work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Protocol, Self, SupportsIndex

import trio

from muxpy._codes import ErrorCode, check_code
from muxpy._config import check_number
from muxpy._errors import SessionClosed, SessionEnd, SessionGoingAway
from muxpy.proto import Opening

from ._binding import PortOrPath, bound
from ._carrying import carry, socket_pair
from ._closing import close_session, go_away
from ._handlers import Handlers
from ._listener import SessionListener
from ._statistics import SessionStatistics, of_session
from ._stream import Stream

if TYPE_CHECKING:
    import socket
    import ssl
    from contextlib import AbstractAsyncContextManager

    from muxpy._config import SessionConfig
    from muxpy.proto import StreamState
    from muxpy.transport import Address

    from ._background import Background
    from ._backlog import Backlog
    from ._carrying import Place
    from ._engine import Engine
    from ._group import SessionGroup
    from ._handlers import Handler

__all__ = ["Accept", "Extension", "Session", "serve_alone"]

Accept = Callable[[], Awaitable[Stream]]
"""Waits for the next stream of the extension's type that the peer opens. Raises SessionClosed when the session ends."""


class Extension(Protocol):
    """The interface of an extension."""

    @property
    def stream_type(self) -> int:
        """The type of the extension's streams, MIN_EXTENSION_TYPE or more."""

    async def run(self, session: Session, accept: Accept) -> None:
        """Run as a task of the session. It is cancelled when the session has ended, and may return early.

        An exception that it raises counts as a bug: it ends the session with INTERNAL_ERROR, and `open_session` raises
        it, or a SessionClosed whose cause it is.
        """


class Session:
    """One side of a session. `open_session`, `open_tcp_session` and `serve_tcp_sessions` make sessions and close them.

    Both sides may open streams, and accept those that the other side opens. Iterating over a session accepts streams.
    The iteration ends when the session ends, or when no more streams can come because this side has called `go_away`.
    It raises SessionClosed if the session ended with an error or was killed.
    """

    def __init__(
        self,
        engine: Engine,
        background: Background,
        extensions: Mapping[int, Extension],
        *,
        kind: type[Stream] = Stream,
    ) -> None:
        self._engine = engine
        self._kind = kind
        self._background = background
        self._extensions = extensions
        for stream_type, extension in extensions.items():
            backlog = engine.extension_backlogs[stream_type]
            background.add_extension(partial(self._run_extension, extension, backlog))

    @property
    def config(self) -> SessionConfig:
        """The limits and timeouts that the session was opened with."""
        return self._engine.config

    @property
    def client(self) -> bool:
        """Whether this side is the client, whose streams have odd ids."""
        return self._engine.core.client

    @property
    def local_address(self) -> Address:
        """The transport's address at this end, in the form of Python's socket module; None if it has none."""
        return self._engine.transport.local_address

    @property
    def remote_address(self) -> Address:
        """The transport's address at the peer's end; None if it has none."""
        return self._engine.transport.remote_address

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection, to ask for certificates, cipher and version, if muxpy made it (`ssl_context`); otherwise
        None."""
        return self._engine.transport.tls

    def __repr__(self) -> str:
        return self._engine.name

    # ---- streams ----

    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream:
        """Open a stream. Data may be sent immediately. The peer accepts the stream later, or refuses it: operations on
        a refused stream raise StreamReset with `retryable` set.

        `priority`: 0 to 2^31-1; a higher priority gets a larger share of the session. `stream_type`: a number, 0 to
        2^32-1, by which the peer can tell streams apart. `fin`: send nothing on the stream, only receive.

        It may wait: for the peer to allow one more stream, or while very many control frames wait to be written
        (backpressure). Raises SessionGoingAway if no more streams can be opened, SessionClosed if the session has
        ended, and ValueError for a number outside its range.
        """
        engine = self._engine
        opening = Opening(_integer("priority", priority), _integer("stream_type", stream_type))
        stream = self._stream(await engine.openers.open(opening, fin=fin))
        # The SYN is not written yet: it goes with the first data, if that comes in this pass of the scheduler. A peer
        # that speaks first gets it soon.
        engine.acted()
        return stream

    def open_stream_nowait(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream:
        """`open_stream` without a checkpoint. Raises trio.WouldBlock if it would have to wait; otherwise the same
        exceptions."""
        engine = self._engine
        opening = Opening(_integer("priority", priority), _integer("stream_type", stream_type))
        stream = self._stream(engine.openers.open_nowait(opening, fin=fin))
        engine.acted()
        return stream

    def _stream(self, state: StreamState) -> Stream:
        return self._kind(self, self._engine, state)

    async def accept_stream(self) -> Stream:
        """Wait for the next stream that the peer opens.

        Raises SessionClosed when the session has ended, SessionGoingAway when no more streams can come because this
        side has called `go_away`, and trio.BusyResourceError while `serve_streams` takes them.
        """
        return self._stream(await self._engine.backlog.accept_without_listener(self._check_acceptable))

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
        """Run `handler(stream)` in a task of its own for each stream that the peer opens. Returns when the session has
        ended or this side has called `go_away`, and all handlers have returned.

        A stream is closed when its handler returns. If a handler raises an exception, the exception is logged and the
        stream is reset with INTERNAL_ERROR; the session and the other handlers go on.

        When the peer resets a stream, or the session ends, the operations of the handler on that stream fail; a handler
        that is busy with something else goes on. With `cancel_handlers`, the handler is cancelled, so that it does not
        work for a peer that is gone; data that it has not read is lost. The peer's EOF does not cancel a handler, nor
        does the end of a stream in order in both directions, nor a close or reset by the handler itself: see
        `Stream.wait_ended`.

        Raises SessionClosed if the session ended with an error or was killed, and trio.BusyResourceError if
        `serve_streams` is already running on this session.
        """
        backlog, ending = self._engine.backlog, self._engine.ending
        if backlog.served:
            raise trio.BusyResourceError("serve_streams is already running on this session")
        async with trio.open_nursery() as nursery:
            handlers = self._handlers(nursery, handler, cancel_handlers)
            backlog.serve(handlers)
            try:
                while ending.end is None and not self._engine.core.goaway_sent:
                    await backlog.wait()
            finally:
                backlog.end_serving()
            handlers.close()
        ending.check_order()

    def _handlers(self, nursery: trio.Nursery, handler: Handler, cancel_handlers: bool) -> Handlers:
        return Handlers(nursery, self._engine, self, self._kind, handler, while_wanted=cancel_handlers)

    async def _run_extension(self, extension: Extension, backlog: Backlog) -> None:
        """Run an extension. When it returns, streams that it has not accepted are reset, and so are later ones."""

        async def accept() -> Stream:
            if not backlog:  # also when the session has ended, or an extension that asks again and again hangs all
                await trio.lowlevel.checkpoint()
            return self._stream(await backlog.accept(self._engine.ending.check_alive))

        try:
            await extension.run(self, accept)
        finally:
            backlog.close(ErrorCode.STREAM_CLOSED)
            self._engine.acted()

    def listener(self) -> SessionListener:
        """The session's incoming streams as a trio.abc.Listener, for `trio.serve_listeners` and similar functions;
        docs/guide.md says how these end.

        After the listener is closed, streams of the peer are refused, if nothing else takes them.
        """
        return SessionListener(self, self._engine, self._stream, self._check_acceptable)

    async def dial(
        self,
        host: str | bytes | None = None,
        port: int | None = None,
        *,
        happy_eyeballs_delay: float | None = None,
        local_address: str | None = None,
    ) -> Stream:
        """`open_stream` with the signature of `trio.open_tcp_stream`, for client libraries that take such a function.
        All arguments are ignored: there is only one place to connect to, the peer.
        """
        return await self.open_stream()

    async def connect_socket(self, priority: int = 0, stream_type: int = 0) -> socket.socket:
        """`open_stream` for a library that wants a connected socket: one end of a TCP connection within this process,
        whose other end the session joins to the stream. It blocks, as new sockets do: use it in a thread, make it
        non-blocking, or wrap it for Trio (`trio.socket.from_stdlib_socket`). The socket is the caller's, who closes it.

        What one side does, the other side sees: half-close (`shutdown`) and end, and backpressure. A socket that is
        closed ends its direction; if the peer still sends, the stream is reset with CANCEL. A reset of the stream, its
        refusal, and a session that ends before the stream does, reset the socket (ConnectionResetError), so that a cut
        never looks like the end of the data.

        The session joins them in the background until both directions have ended. While the socket is open, it counts
        as an open stream, for which `aclose` waits. When the peer has closed the session, the socket still gets what
        had arrived, if it takes it within `config.linger_timeout`.

        Raises the exceptions of `open_stream`, and OSError if there is no socket to be had.
        """
        near, far = await socket_pair()
        try:
            stream = await self.open_stream(priority, stream_type)
        except BaseException:
            near.socket.close()
            far.close()
            raise
        self._background.carry(partial(carry, stream, near))
        return far

    def bind(
        self, place: PortOrPath, priority: int = 0, stream_type: int = 0
    ) -> AbstractAsyncContextManager[PortOrPath]:
        """Listen on this machine while the block runs, and carry each connection that comes over a new stream, as
        `ssh -L` does. `place`: a port of 127.0.0.1, or the path of a Unix socket, which only this user may connect to.
        The value is the place; for port 0 it is the port that the system has picked::

            async with session.bind(0) as port:
                await trio.open_tcp_stream("127.0.0.1", port)

        The peer decides where its streams lead: see `forward_to`. `priority` and `stream_type` are those of
        `open_stream`. Half-close and backpressure pass through; a reset of one side resets the other, and so does the
        end of the session. At most 1,024 connections are carried at the same time, and more wait in the kernel's queue,
        as they do while this process has no descriptors left.

        When the session can open no more streams, this stops listening, so that the next session may bind the place;
        open connections go on. So they do at the end of the block, for up to `config.drain_timeout` seconds, after
        which they are reset. If an exception or a cancellation ends the block, they are reset immediately.

        Raises OSError if the place cannot be bound, and SessionGoingAway or SessionClosed if no stream can be opened.
        A socket file on which no process listens any more is replaced.
        """
        self._engine.openers.check()
        open_stream = partial(self.open_stream, priority, stream_type)
        return bound(place, open_stream, self.wait_going_away, self.config.drain_timeout)

    async def forward_to(self, target: Place) -> None:
        """Connect each stream that the peer opens to `target`: `serve_streams` with `Stream.forward_to`, which says
        what a target may be. For several targets, write a handler that chooses one by `Stream.stream_type`."""
        await self.serve_streams(partial(Stream.forward_to, target=target))

    def admit(self, group: SessionGroup | None = None) -> None:
        """Admit the peer after its authentication: see `SessionConfig.wants_login`. From now on the peer may do
        everything that the config allows, and its heartbeats are answered. If `group` is given, the session belongs to
        that group from now on.

        For a peer that was admitted before, this only changes the group. After the session has ended, it does nothing.
        """
        if self._engine.ending.end is None and group is not None:
            self._background.join(group)
        self._background.admit()

    def allow_streams(self, most: int) -> None:
        """Let the peer have `most` streams open from now on, and let as many wait to be accepted. This replaces
        `config.max_streams` and `config.accept_backlog`, for limits that are known only after the session has begun,
        such as the quota of a user. Streams that are open already stay open. The bounds of memory change too: see
        SessionConfig. Raises TypeError or ValueError if `most` is not an integer of at least 0.
        """
        check_number("most", most, "int")
        self._engine.core.allow_streams(most)
        self._engine.writer.poke()  # the core may have queued a frame about it

    # ---- ending ----

    def go_away(self, code: int = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> bool:
        """Tell the peer by GOAWAY to open no more streams. Open streams go on, and this side may still open streams.

        `code` and `debug` (at most 1 KiB) tell the peer why. With `final=False`, streams that the peer opens before it
        has received this are still accepted; a later `go_away()` or `aclose` sends the final GOAWAY, after which new
        streams are refused.

        Returns whether it was sent: False if that was done before, or the session has ended.
        """
        check_code(code)
        return go_away(self._engine, code, debug, final=final)

    @property
    def going_away(self) -> bool:
        """Whether this side can open no more streams: the peer has sent GOAWAY, the stream ids are used up, or the
        session is being closed or has ended.
        """
        return self._engine.ending.going_away

    async def wait_going_away(self) -> None:
        """Wait until `going_away` is True. At that point, a program that wants no gap opens its next session."""
        await self._engine.ending.until(lambda: self.going_away)

    async def aclose(self, *, announce: bool = False) -> None:
        """End the session in order (graceful shutdown): send GOAWAY, give open streams up to `config.drain_timeout`
        seconds to finish, and close the transport after the peer has had time to read what was sent. If cancelled, the
        session is killed.

        With `announce`, streams that the peer opens before it knows of the end are not refused: the session first calls
        `go_away(final=False)`, and goes on until the peer has answered with its own GOAWAY, or until
        `config.drain_timeout` is over. Use it for peers that answer, such as programs that use `wait_going_away`.
        """
        await close_session(self._engine, self._background, announce=announce)

    def kill(self, error: BaseException | None = None) -> None:
        """End the session immediately, and send nothing more to the peer. Tasks that wait, or that serve or iterate
        over streams, get SessionClosed; its cause is `error`, or otherwise a trio.ClosedResourceError."""
        self._background.kill(error)

    async def wait_closing(self) -> None:
        """Wait until this side takes no more streams: it has called `go_away` or `aclose`, or the session has ended. At
        that point, a program that holds a stream open for its own purposes ends that stream."""
        ending, core = self._engine.ending, self._engine.core
        await ending.until(lambda: ending.end is not None or core.goaway_sent)

    @property
    def end(self) -> SessionEnd | None:
        """How the session ended; None while it goes on. The last frames may still be on their way: see `wait`."""
        return self._engine.ending.end

    async def wait(self) -> SessionEnd:
        """Wait until the session has ended and its transport is closed. Returns how it ended."""
        ending = self._engine.ending
        await ending.until(lambda: ending.closed)
        assert ending.end is not None
        return ending.end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ---- for extensions and the curious ----

    def statistics(self) -> SessionStatistics:
        """The session's counters and sizes at this moment. Cheap: a few microseconds."""
        beating = any(getattr(extension, "beating", False) for extension in self._extensions.values())
        return of_session(self._engine, heartbeat=beating)

    def silence(self) -> float:
        """Seconds since the last byte was received."""
        return trio.current_time() - self._engine.reader.last_received

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run `task` as a task of the session, with the caller's context (contextvars). It is cancelled when the
        session has ended, and never begins if that is so already. An exception that it raises counts as a bug: see
        `Extension.run`."""
        self._background.start_soon(task)

    def report_rtt(self, seconds: float) -> None:
        """Tell the session a measured round trip, in seconds, for window growth and `statistics().rtt`."""
        self._engine.core.sample_rtt(seconds)

    # ---- checks ----

    def _check_acceptable(self) -> None:
        self._engine.ending.check_alive()
        # Nothing more can come after that, so `async for`, `accept_stream` and `serve_streams` end instead of waiting.
        if self._engine.core.goaway_sent:
            raise SessionGoingAway("this side has said go_away: no more streams will come")


def serve_alone(
    session: Session, handler: Handler, nursery: trio.Nursery, *, cancel_handlers: bool = False
) -> Coroutine[None, None, None]:
    """Run a session for nothing else than `serve_streams`, in this task, until its transport is closed and all handlers
    have returned. It ends when the peer ends it, or when this side has called `go_away` and all handlers have returned.
    Raises SessionClosed if it ended with an error or was killed.

    The handlers' tasks are in `nursery`. So an idle session takes one task, which is the one that reads.
    """
    handlers = session._handlers(nursery, handler, cancel_handlers)
    return session._background.serve(handlers)


def _integer(name: str, value: SupportsIndex) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None

"""A session of HTTP/2: what a connection is to its server and its client."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import trio

from muxpy._codes import ErrorCode, ProtocolError
from muxpy._running import engine_name
from muxpy.ext import HeartbeatLost
from muxpy.frame.http2 import Http2Code
from muxpy.proto.http2 import Connection
from muxpy.session import Background, Engine, Session, tasks_beside
from muxpy.trace import tap_for
from muxpy.trace._http2 import Http2Frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muxpy._http_config import Config as HttpConfig
    from muxpy.proto import Core
    from muxpy.session import Stream
    from muxpy.transport import Transport

__all__ = ["HttpSession", "Parts", "looking_after", "make_session", "parts_of", "prepare_tls", "retire"]

LOOK_EVERY: Final = 1.0
"""Seconds between looks at what takes too long: far less than any of the limits."""


class HttpSession(Session):
    """One connection. As a `muxpy.Session` it has statistics, and can be ended; its streams are opened by requests."""

    def __init__(
        self, engine: Engine, background: Background, core: Connection, config: HttpConfig, kind: type[Stream]
    ) -> None:
        super().__init__(engine, background, {}, kind=kind)
        self._core = core
        self._parts = engine
        self._limits = config
        self._begun = self._pinged = engine.clock()
        self._last_seen = 0  # bytes that had been received at the last look
        self._resting = False

    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> Stream:
        """Raises RuntimeError: in HTTP/2, streams are opened by requests (`Client.request`, `Client.open`)."""
        raise RuntimeError("in HTTP/2, streams are opened by requests: see Client.request and Client.open")

    @property
    def requests(self) -> int:
        """Requests that were taken on this connection so far, at a server."""
        return self._core.counters.accepted

    async def ping(self) -> float:
        """Send a PING and wait for the answer. Returns the round trip in seconds. Raises SessionClosed."""
        ending = self._parts.ending
        ending.check_alive()
        begun, answered = self._parts.clock(), False

        def note() -> None:
            nonlocal answered
            answered = True
            ending.news()

        self._core.ping(note)
        self._parts.writer.poke()
        await ending.until(lambda: answered or ending.end is not None)
        if not answered:
            ending.check_alive()
        return self._parts.clock() - begun

    def _look_after(self) -> None:
        """Look for what takes too long: called every second or so."""
        engine, core, limits = self._parts, self._core, self._limits
        if engine.ending.end is not None:
            return
        now = engine.clock()
        error = core.patience.overdue(now)
        limit = limits.settings_timeout if core.client and not core.settings_heard else None
        if limit is not None and now - self._begun >= limit:
            error = ProtocolError(Http2Code.SETTINGS_TIMEOUT, f"the server sent no settings within {limit:g} s")
        if error is not None:
            engine.give_up(error)
            return
        if stuck := core.patience.reset_stuck(now):
            engine.wakings.wake(list(stuck))
            engine.acted()
        if core.patience.end_requests(now):
            engine.acted()
        self._rest_if_idle()
        if limits.heartbeat_interval is not None:
            self._keep_alive(now, limits.heartbeat_interval, limits.heartbeat_tolerance)

    def _rest_if_idle(self) -> None:
        """A connection on which nothing happens must cost little: there may be ten thousands of them."""
        received = self._parts.reader.bytes_received
        if received == self._last_seen and not self._core.open_streams and not self._resting:
            self._core.patience.rest()
            self._parts.backlog.rest()
            self._parts.writer.rest()
        self._resting = received == self._last_seen
        self._last_seen = received

    def _keep_alive(self, now: float, interval: float, tolerance: float) -> None:
        silence = self.silence()
        if silence >= interval + tolerance:
            self.kill(HeartbeatLost(f"the peer is dead: nothing was received for {interval + tolerance:g} s"))
        elif silence >= interval and now - self._pinged >= interval:
            self._pinged = now
            self._core.ping(_nothing)
            self._parts.writer.poke()


class Parts(NamedTuple):
    """What a session stands on."""

    core: Connection
    engine: Engine


def parts_of(session: HttpSession) -> Parts:
    """For those in this room who open its streams."""
    return Parts(session._core, session._parts)


def _nothing() -> None:
    """The answer to a PING is a sign of life as such."""


def make_session(
    transport: Transport, *, client: bool, config: HttpConfig, kind: type[Stream]
) -> tuple[HttpSession, Background]:
    """A session, and the tasks that run it. Raises trio.BrokenResourceError if TLS has chosen another protocol."""
    tls = transport.tls
    if tls is not None and tls.selected_alpn_protocol() != "h2":
        raise trio.BrokenResourceError("the peer does not offer HTTP/2 over TLS: ALPN has not chosen h2")
    clock = trio.lowlevel.current_clock().current_time  # trio.current_time() without looking up the run
    core = Connection(config, client=client, clock=clock, eager=tls is not None)
    # The streams that the shell gives to the core are those that it has from there: of its own kind.
    seam = cast("Core", core)
    name = engine_name(transport, client=client)
    tap = tap_for(name, config.trace, clock, Http2Frames)
    engine = Engine(name, transport, seam, config, clock, tap=tap)
    background = Background(engine, tap)
    if tls is not None and not _is_adequate(tls):
        engine.give_up(ProtocolError(Http2Code.INADEQUATE_SECURITY, "TLS below 1.2, or a cipher suite of its lists"))
    return HttpSession(engine, background, core, config, kind), background


def prepare_tls(context: ssl.SSLContext | None) -> None:
    """Have a context offer HTTP/2, and nothing that RFC 9113, 9.2, forbids."""
    if context is not None:
        context.set_alpn_protocols(["h2"])
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _is_adequate(tls: ssl.SSLObject) -> bool:
    """RFC 9113, 9.2 and appendix A: the lists leave TLS 1.2 with ephemeral keys and authenticated ciphers."""
    cipher = tls.cipher()
    if tls.version() == "TLSv1.3" or cipher is None:
        return True
    name = cipher[0]
    sealed = any(mode in name for mode in ("GCM", "CHACHA20", "CCM"))
    return tls.version() == "TLSv1.2" and sealed and name.startswith(("ECDHE", "DHE"))


@asynccontextmanager
async def looking_after(sessions: set[HttpSession]) -> AsyncIterator[trio.Nursery]:
    """Look after all of these while the block runs. It may start more tasks, which are cancelled at its end. What is
    raised in it leaves it as it is, and not in an ExceptionGroup."""
    async with tasks_beside() as nursery:
        nursery.start_soon(_look_after, sessions)
        yield nursery
        nursery.cancel_scope.cancel()


async def _look_after(sessions: set[HttpSession]) -> None:
    """One task for all, since a timer for each would wake as often as there are connections."""
    while True:
        await trio.sleep(LOOK_EVERY)
        await _look_at(sessions)


async def _look_at(sessions: set[HttpSession]) -> None:
    """Once. A function of its own, so that no name is left here that keeps the last session after its end."""
    for number, session in enumerate(list(sessions)):
        session._look_after()
        if number % 256 == 255:
            await trio.lowlevel.checkpoint()


async def retire(session: HttpSession) -> None:
    """Have a client open no more streams, in two steps (RFC 9113, 6.8): what it sends before it has read the first
    GOAWAY is still handled. The answer to a PING shows that it has."""
    session.go_away(ErrorCode.NO_ERROR, final=False)
    if session.end is None:
        with trio.move_on_after(session.config.linger_timeout):
            try:
                await session.ping()
            except trio.BrokenResourceError:
                return
    session.go_away()

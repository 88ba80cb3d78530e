"""One connection to the listening end, from its place at the door to its last byte."""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING, Final, Protocol

import trio

import muxpy

from .._errors import Failure, describe, the_cause
from .._identity import program_version
from ..relay import GRACE, refuse
from ..wire import Refused, pack
from ._entrance import CROWDED, TOO_LATE
from ._turned_away import NotWelcome, is_about_trust, why_no_handshake

if TYPE_CHECKING:
    from .._options import ListenOptions
    from .._tracing import Trace
    from ..view import Console
    from ..wire import Message
    from ._door import Door, Greeting
    from ._entrance import Arrival, Entrance
    from ._peer import Peer
    from ._streams import Streams
    from ._turned_away import Tally

__all__ = ["Visit"]

LAST_WORDS: Final = 0.25
"""Seconds for a client that is not let in to read why, and to close: less than for a peer, since it keeps a place."""

MAX_GOODBYE: Final = 200
"""Characters of what a stranger says when it leaves."""


class ListeningEnd(Protocol):
    """What a visit needs of it."""

    entrance: Entrance
    tally: Tally
    streams: Streams
    trace: Trace | None

    def admit(self, session: muxpy.Session, greeting: Greeting, name: str, nursery: trio.Nursery) -> Peer:
        """Make a peer of a session whose client is known. Raises Refused."""

    def dismiss(self, peer: Peer, end: muxpy.SessionEnd | None) -> None:
        """Its session has ended."""


class Visit:
    """One connection."""

    def __init__(
        self, server: ListeningEnd, door: Door, arrival: Arrival, console: Console, options: ListenOptions
    ) -> None:
        self._server = server
        self._door = door
        self._arrival = arrival
        self._name = arrival.name
        self._console = console
        self._config = muxpy.SessionConfig(
            drain_timeout=options.drain,
            idle_timeout=options.session_idle_timeout or None,  # 0 is never
            wants_login=True,
            trace=server.trace,
        )
        self._greeted = False
        self._turned_away = False
        self._peer: Peer | None = None
        self._nursery: trio.Nursery
        self._session: muxpy.Session

    async def run(self) -> None:
        """Until the connection has ended. Raises nothing but a cancellation."""
        arrival = self._arrival
        try:
            with arrival.limit:
                await self._serve()
            if arrival.limit.cancelled_caught:
                self._turn_away(NotWelcome(CROWDED, "dropped") if arrival.dropped else NotWelcome(TOO_LATE, "silent"))
        except Exception as error:
            self._tell(the_cause(error))
        finally:
            self._leave_place()
            arrival.connection.close()

    def _leave_place(self) -> None:
        self._server.entrance.leave(self._arrival)

    def _turn_away(self, error: NotWelcome) -> None:
        """Say why it is not let in; the first reason is the one that counts."""
        if not self._turned_away:
            self._turned_away = True
            self._server.tally.add(error.kind, self._name, error.reason)

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, Failure):
            self._console.error(str(error))
        elif not isinstance(error, OSError | trio.BrokenResourceError):
            self._console.error(f"connection from {self._name}: internal error: {error!r}", peer=self._name)
        elif self._peer is None:
            self._turn_away(_why(error))
        else:
            self._console.news(
                f"connection from {self._name}: {describe(error)}", peer=self._name, event="connection_failed"
            )

    async def _serve(self) -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._arrival.connection))
        async with muxpy.open_session(
            stream,
            client=False,
            ssl_context=self._door.who.context,
            config=self._config,
            group=self._door.strangers,
        ) as self._session:
            end: muxpy.SessionEnd | None = None
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._serve_streams)
                    end = await self._session.wait()
                    if self._peer is not None:
                        self._peer.end()
                        self._nursery.cancel_scope.deadline = trio.current_time() + GRACE
            finally:
                if self._peer is not None:
                    self._server.dismiss(self._peer, end)

    async def _serve_streams(self) -> None:
        error: BaseException | None = None
        try:
            await self._session.serve_streams(self._handle)
        except muxpy.SessionClosed as closed:
            error = closed.__cause__
        if self._peer is None:
            limit = self._arrival.limit
            limit.deadline = min(limit.deadline, trio.current_time() + LAST_WORDS)
            if error is not None or not await self._hear_goodbye():
                self._turn_away(_why(error))

    async def _hear_goodbye(self) -> bool:
        """Whether a client that is not let in has said itself why it leaves, in its GOAWAY."""
        with trio.move_on_after(LAST_WORDS / 2):
            end = await self._session.wait()
            word = end.remote_debug.decode(errors="replace")[:MAX_GOODBYE]
            if word:
                self._turn_away(NotWelcome(f"it left: {word}", "gave_up"))
                return True
        return False

    async def _handle(self, stream: muxpy.Stream) -> None:
        if self._peer is not None:
            await self._server.streams.handle(self._peer, stream)
        elif self._greeted:
            # A client that does not wait for the answer could have us keep what it sends on a thousand streams.
            self._turn_away(NotWelcome("it opened streams before it was let in"))
            self._session.kill()
        else:
            self._greeted = True
            try:
                await self._greet(stream)
            except NotWelcome as error:
                self._turn_away(error)
            finally:
                if self._peer is None:  # whatever went wrong: a client that was not let in must not stay
                    self._session.kill()

    async def _greet(self, stream: muxpy.Stream) -> None:
        try:
            greeting = await self._door.greet(self._session, stream)
        except Refused as refused:
            self._turn_away(NotWelcome(refused.reason, "refused"))
            self._leave_place()  # what is left takes some time, and no work
            await self._door.refusals.delay(self._arrival.deadline)
            await refuse(stream, refused)
            return
        try:
            self._peer = self._server.admit(self._session, greeting, self._name, self._nursery)
        except Refused as refused:
            self._turn_away(NotWelcome(refused.reason, "refused"))
            await refuse(stream, refused)
            return
        self._arrival.limit.deadline = math.inf
        self._leave_place()
        self._session.admit(self._peer.usage.group)
        usage = self._peer.usage
        answer: Message = {"program": f"muxpy {program_version()}", "user": usage.name}
        if usage.limits.streams is not None:
            answer["streams"] = usage.limits.streams
        await stream.send_all(pack(answer))


def _why(error: BaseException | None) -> NotWelcome:
    """Why a connection has ended that was not let in."""
    if isinstance(error, muxpy.ProtocolError):
        return NotWelcome(error.reason)
    if isinstance(error, ssl.SSLError):
        return NotWelcome(why_no_handshake(error), "untrusted" if is_about_trust(error) else "strange")
    return NotWelcome("it went away" if error is None else f"it went away: {describe(error)}", "left")

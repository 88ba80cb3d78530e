"""One connection to the listening end, from its first byte to its last."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

import muxpy

from .._errors import Failure, describe, the_cause
from .._identity import program_version
from ..net import peer_of
from ..relay import GRACE, RESET_RATE, refuse, serve_streams
from ..specs import Address
from ..wire import Refused, pack
from ._door import GREETING_TIMEOUT, NotWelcome

if TYPE_CHECKING:
    from .._options import ListenOptions
    from ..view import Console
    from ._door import Door
    from ._peer import Peer
    from ._server import Server

__all__ = ["Visit"]


class Visit:
    """One connection."""

    def __init__(
        self, server: Server, door: Door, stream: trio.SocketStream, console: Console, options: ListenOptions
    ) -> None:
        self._server = server
        self._door = door
        self._stream = stream
        self._console = console
        address = peer_of(stream)
        self._host = address[0] if address is not None else "a local socket"
        self._name = str(Address(*address)) if address is not None else self._host
        self._config = muxpy.SessionConfig(
            drain_timeout=options.drain,
            idle_timeout=options.session_idle_timeout or None,  # 0 is never
            reset_rate=RESET_RATE,
            trace=server.trace,
        )
        self._limit = trio.CancelScope(deadline=trio.current_time() + GREETING_TIMEOUT)
        self._place = ExitStack()
        self._greeted = False
        self._gave_up = False
        self._peer: Peer | None = None
        self._refusal: NotWelcome | None = None
        self._nursery: trio.Nursery
        self._session: muxpy.Session

    async def run(self) -> None:
        """Until the connection has ended. Raises nothing but a cancellation."""
        try:
            with self._place, self._limit:
                self._place.enter_context(self._door.holding_place(self._host, self._give_up))
                await self._serve()
            if self._limit.cancelled_caught and not self._gave_up:
                raise NotWelcome(f"it did not say within {GREETING_TIMEOUT:g} seconds who it is")
            if self._refusal is not None:
                raise self._refusal
        except NotWelcome as error:
            self._console.complain(f"{self._name} was not let in: {error}", peer=self._name, event="not_admitted")
        except Exception as error:
            self._tell(the_cause(error))
        finally:
            self._stream.socket.close()

    def _give_up(self) -> None:
        self._gave_up = True
        self._refusal = NotWelcome("it had to make room: too many connections have not said who they are")
        self._limit.cancel()

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, Failure):
            self._console.error(str(error))
        elif isinstance(error, OSError | trio.BrokenResourceError):
            self._console.news(
                f"connection from {self._name}: {describe(error)}", peer=self._name, event="connection_failed"
            )
        else:
            self._console.error(f"connection from {self._name}: internal error: {error!r}", peer=self._name)

    async def _serve(self) -> None:
        async with muxpy.open_session(
            self._stream, client=False, ssl_context=self._door.context, config=self._config
        ) as self._session:
            end: muxpy.SessionEnd | None = None
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(serve_streams, self._session, self._handle)
                    end = await self._session.wait()
                    if self._peer is None and isinstance(end.error, muxpy.ProtocolError):
                        self._refusal = self._refusal or NotWelcome(end.error.reason)
                    if self._peer is not None:
                        self._peer.end()
                    self._nursery.cancel_scope.deadline = trio.current_time() + GRACE
            finally:
                if self._peer is not None:
                    self._server.dismiss(self._peer, end)

    async def _handle(self, stream: muxpy.Stream) -> None:
        if self._peer is not None:
            await self._server.streams.handle(self._peer, stream)
        elif self._greeted:
            # Who does not wait for the answer could have us keep what it sends on a thousand streams.
            self._end(NotWelcome("it opened streams before it was let in"))
        else:
            self._greeted = True
            try:
                await self._greet(stream)
            except NotWelcome as error:
                self._end(error)
            finally:
                if self._peer is None:  # whatever went wrong: who was not let in must not stay
                    self._session.kill()

    def _end(self, error: NotWelcome) -> None:
        self._refusal = self._refusal or error
        self._session.kill()

    async def _greet(self, stream: muxpy.Stream) -> None:
        message = await self._door.read(stream)
        self._limit.deadline = math.inf
        greeting = await self._door.recognise(self._session, stream, message, self._host)
        try:
            self._peer = self._server.admit(self._session, greeting, self._name, self._nursery)
        except Refused as refused:
            await refuse(stream, refused)
            raise NotWelcome(refused.reason) from None
        self._place.close()
        answer = {"program": f"muxpy {program_version()}", "user": self._peer.usage.name}
        await stream.send_all(pack(answer))

"""The connecting end: one session, and the forwards over it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ._ends import DRAINING, GRACE, hello, serve_streams, write_statistics
from ._errors import Failure, describe
from ._net import anything, bound_addresses, on_loopback, open_listeners
from ._specs import Address, Forward
from ._tunnel import Unanswered, ask, carry, reach, receive_opening
from ._wire import Purpose, Refused, WireError, pack, unpack_integer

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from ._console import Console
    from ._lifetime import Lifetime

__all__ = ["ConnectOptions", "connect"]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for the connection and the TLS handshake."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What `muxpy connect` was told."""

    address: Address
    local: tuple[Forward, ...] = ()
    remote: tuple[Forward, ...] = ()
    ssl_context: ssl.SSLContext | None = None
    tls_name: str | None = None
    insecure: bool = False
    statistics: str | None = None


async def connect(options: ConnectOptions, console: Console, lifetime: Lifetime) -> None:
    """Forward until drained. Raises Failure if the session ends before."""
    await _refuse_to_expose(options)
    # First of all, because what fails here needs no session.
    local = [(forward, await open_listeners(forward.bind)) for forward in options.local]
    async with _open_session(options) as session:
        client = Client(session, options, console)
        try:
            await client.run(local, lifetime)
        finally:
            write_statistics(options.statistics, session)


async def _refuse_to_expose(options: ConnectOptions) -> None:
    if options.ssl_context is not None or options.insecure:
        return
    try:
        harmless = await on_loopback(options.address.host)
    except OSError as error:
        raise Failure(f"cannot connect to {options.address}: {describe(error)}") from error
    if not harmless:
        raise Failure(
            f"{options.address} is another machine: give --tls, or --insecure to let everybody on the way read along"
        )


@asynccontextmanager
async def _open_session(options: ConnectOptions) -> AsyncIterator[muxpy.Session]:
    address = options.address
    is_open = False
    try:
        with trio.CancelScope(deadline=trio.current_time() + CONNECT_TIMEOUT) as limit:
            async with muxpy.open_tcp_session(
                address.host, address.port, ssl_context=options.ssl_context, server_hostname=options.tls_name
            ) as session:
                limit.deadline = math.inf
                is_open = True
                yield session
    except (OSError, UnicodeError) as error:
        if is_open:
            raise
        raise Failure(f"cannot connect to {address}: {describe(error)}") from error
    if limit.cancelled_caught:
        raise Failure(f"cannot connect to {address}: no answer within {CONNECT_TIMEOUT:g} seconds")


def _said_nothing(error: BaseException) -> bool:
    """Whether the other end only waited or closed the connection, which is what one that wants TLS does."""
    if isinstance(error, muxpy.SessionClosed):
        return error.end is None or not isinstance(error.end.error, muxpy.ProtocolError)
    return isinstance(error, trio.TooSlowError)


class Client:
    """The forwards of one session."""

    def __init__(self, session: muxpy.Session, options: ConnectOptions, console: Console) -> None:
        self._session = session
        self._options = options
        self._console = console
        self._remote: dict[int, Forward] = {}  # by the id of the LISTEN stream

    async def run(self, local: list[tuple[Forward, list[trio.SocketListener]]], lifetime: Lifetime) -> None:
        """Set up all forwards and serve them until the session ends. Raises Failure if that was not our wish."""
        ended = trio.Event()
        async with trio.open_nursery() as relays:
            async with trio.open_nursery() as forwards:

                async def drain() -> None:
                    self._console.event(DRAINING)
                    forwards.cancel_scope.cancel()
                    await self._session.aclose()
                    await ended.wait()  # what has arrived is on its way to slow readers yet

                relays.start_soon(serve_streams, self._session, self._handle)
                await self._say_hello()
                for forward, listeners in local:
                    self._serve_local(forward, listeners, forwards, relays)
                for forward in self._options.remote:
                    await forwards.start(self._serve_remote, forward)
                lifetime.drain = drain
                relays.start_soon(self._end_with_session, forwards.cancel_scope)
            none_left = not forwards.cancel_scope.cancel_called
            if none_left:
                relays.start_soon(self._session.aclose)  # connections that came through them may finish
            end = await self._session.wait()
            relays.cancel_scope.deadline = trio.current_time() + GRACE
        ended.set()
        if not lifetime.draining:
            if none_left and end.error is None:
                raise Failure(f"no forward is left: {self._options.address} has ended them all")
            reason = describe(end.error) if end.error is not None else "the other end closed it"
            raise Failure(f"the session with {self._options.address} has ended: {reason}")

    async def _end_with_session(self, forwards: trio.CancelScope) -> None:
        await self._session.wait()
        forwards.cancel()

    async def _say_hello(self) -> None:
        """Find out now whether it is a muxpy that listens there, and not with the first forwarded connection."""
        try:
            stream = await self._session.open_stream(stream_type=Purpose.HELLO)
            await ask(stream, hello())
            await stream.aclose()
        except (trio.BrokenResourceError, trio.TooSlowError, WireError, Refused) as error:
            hint = ""
            if self._options.ssl_context is None and _said_nothing(error):
                hint = " (does it want --tls?)"
            raise Failure(f"{self._options.address} does not answer as a muxpy: {describe(error)}{hint}") from error

    # ---- local forwards ----

    def _serve_local(
        self, forward: Forward, listeners: list[trio.SocketListener], forwards: trio.Nursery, relays: trio.Nursery
    ) -> None:
        opening = pack({"host": forward.target.host, "port": forward.target.port})
        handler = partial(self._carry, forward, opening)
        forwards.start_soon(partial(trio.serve_listeners, handler, listeners, handler_nursery=relays))
        self._console.line(
            f"forwarding {bound_addresses(listeners)} -> {self._options.address} -> {forward.target}", style="green"
        )

    async def _carry(self, forward: Forward, opening: bytes, near: trio.SocketStream) -> None:
        try:
            await carry(self._session, Purpose.CONNECT, opening, near)
        except Refused as refused:
            reason = refused.reason or f"{forward.target}, and did not say why"
            self._console.complain(f"the other end cannot reach {reason}")
        except Unanswered as error:
            self._console.complain(f"connection to {forward.target}: {error}")

    # ---- remote forwards ----

    async def _serve_remote(
        self, forward: Forward, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with suppress(muxpy.SessionClosed):
            async with await self._session.open_stream(stream_type=Purpose.LISTEN) as control:
                self._remote[control.id] = forward
                bound = await self._ask_to_listen(control, forward)
                self._console.line(f"forwarding {bound} at {self._options.address} -> {forward.target}", style="green")
                task_status.started()
                with suppress(muxpy.StreamReset):
                    await control.receive_some()
            self._console.event(f"{self._options.address} no longer forwards {bound}", style="yellow")

    async def _ask_to_listen(self, control: muxpy.Stream, forward: Forward) -> Address:
        bind = forward.bind
        try:
            answer = await ask(control, {"host": bind.host, "port": bind.port})
            return Address(bind.host, unpack_integer(answer, "port", most=65535))
        except (trio.BrokenResourceError, trio.TooSlowError, WireError, Refused) as error:
            raise Failure(f"{self._options.address} does not forward {bind}: {describe(error)}") from error

    async def _handle(self, stream: muxpy.Stream) -> None:
        """A stream that the other end opened: a connection to one of the ports that it listens on for us."""
        try:
            message, early = await receive_opening(stream)
            forward = self._remote.get(unpack_integer(message, "forward", most=2**32))
            if stream.stream_type != Purpose.FORWARDED or forward is None:
                raise WireError("it opened a stream that nobody asked for")
            await reach(stream, forward.target, anything, early)
        except Refused as refused:
            self._console.complain(f"cannot reach {refused}")
        except WireError as error:
            self._console.complain(f"stream from {self._options.address}: {error}")
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)

"""The listening end: accepts sessions, connects streams to targets, binds ports on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ._ends import DRAINING, GRACE, hello, serve_streams, write_statistics
from ._errors import Failure, describe
from ._net import bound_addresses, loopback_only, on_loopback
from ._remote import serve_remote_forward
from ._specs import ALL_INTERFACES, Address, format_address
from ._tunnel import reach, receive_opening, refuse
from ._wire import Purpose, Refused, WireError, pack, unpack_address

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from ._console import Console
    from ._lifetime import Lifetime
    from ._net import Rules

__all__ = ["ListenOptions", "listen"]


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """What `muxpy listen` was told."""

    address: Address
    ssl_context: ssl.SSLContext | None = None
    insecure: bool = False
    statistics: str | None = None


async def listen(options: ListenOptions, console: Console, lifetime: Lifetime) -> None:
    """Serve until drained."""
    await _refuse_to_expose(options)
    server = Server(console, loopback_only, options.statistics)
    host = None if options.address.host == ALL_INTERFACES else options.address.host
    async with trio.open_nursery() as nursery:

        async def drain() -> None:
            console.event(DRAINING)
            await server.drain()
            nursery.cancel_scope.cancel()

        serve = partial(muxpy.serve_tcp_sessions, server.serve, host=host, ssl_context=options.ssl_context)
        try:
            listeners: Sequence[trio.SocketListener] = await nursery.start(serve, options.address.port)
        except (OSError, UnicodeError) as error:
            raise Failure(f"cannot listen on {options.address}: {describe(error)}") from error
        lifetime.drain = drain
        how = "with TLS" if options.ssl_context is not None else "without TLS"
        console.line(f"listening on {bound_addresses(listeners)} {how}", style="bold green")


async def _refuse_to_expose(options: ListenOptions) -> None:
    if options.ssl_context is not None or options.insecure:
        return
    try:
        harmless = await on_loopback(options.address.host)
    except OSError as error:
        raise Failure(f"cannot listen on {options.address}: {describe(error)}") from error
    if not harmless:
        raise Failure(
            f"other machines can reach {options.address}: give --tls-cert and --tls-key, or --insecure to let anybody"
            " on the way read along (either way, whoever can connect may use the forwards to loopback services here)"
        )


MAX_REMOTE_FORWARDS: Final = 64
"""Ports that one session may have bound at once (-R)."""


@dataclass(slots=True)
class _Peer:
    """A session that is being served."""

    session: muxpy.Session
    name: str
    ending: trio.Event = field(default_factory=trio.Event)  # its remote forwards take no more connections
    remote_forwards: int = 0


class Server:
    """Serves the sessions of one listening end."""

    def __init__(self, console: Console, rules: Rules, statistics: str | None = None) -> None:
        self._console = console
        self._rules = rules
        self._statistics = statistics
        self._peers: dict[muxpy.Session, _Peer] = {}
        self._draining = False
        self._ended = trio.lowlevel.ParkingLot()

    async def serve(self, session: muxpy.Session) -> None:
        """Serve one session until it ends."""
        if self._draining:
            return
        peer = self._peers[session] = _Peer(session, format_address(session.remote_address))
        self._console.news(f"session with {peer.name}")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_streams, session, partial(self._handle, peer))
                end = await session.wait()
                nursery.cancel_scope.deadline = trio.current_time() + GRACE
            self._console.news(f"session with {peer.name} ended" + (f": {describe(end.error)}" if end.error else ""))
        finally:
            del self._peers[session]
            self._ended.unpark_all()
            write_statistics(self._statistics, session)

    async def drain(self) -> None:
        """Take nothing new, and let the streams that are open finish."""
        self._draining = True
        async with trio.open_nursery() as nursery:
            for peer in self._peers.values():
                peer.ending.set()  # or their streams would be waited for like a connection
                nursery.start_soon(peer.session.aclose)
        while self._peers:
            await self._ended.park()

    async def _handle(self, peer: _Peer, stream: muxpy.Stream) -> None:
        try:
            message, early = await receive_opening(stream)
            if stream.stream_type == Purpose.CONNECT:
                await reach(stream, unpack_address(message), self._rules, early)
            elif stream.stream_type == Purpose.LISTEN:
                await self._forward_remote(peer, stream, unpack_address(message))
            elif stream.stream_type == Purpose.HELLO:
                await stream.send_all(pack(hello()))
            else:
                await refuse(stream, Refused("unknown", f"stream type {stream.stream_type} is not known here"))
        except Refused as refused:
            self._console.complain(f"refused {peer.name}: {refused}")
        except WireError as error:
            self._console.complain(f"stream from {peer.name}: {error}")
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)

    async def _forward_remote(self, peer: _Peer, control: muxpy.Stream, bind: Address) -> None:
        if peer.remote_forwards >= MAX_REMOTE_FORWARDS:
            refused = Refused(
                "failed", f"cannot bind {bind}: one session may have {MAX_REMOTE_FORWARDS} ports, and has them"
            )
            await refuse(control, refused)
            raise refused
        peer.remote_forwards += 1
        try:
            await serve_remote_forward(peer.session, control, bind, self._rules, self._console, peer.ending)
        finally:
            peer.remote_forwards -= 1

"""Forwards that are bound at the connecting end: -L, -D and --http-proxy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from .._errors import counted, unexpected
from ..entrances import Flows, NotServed, Route, greet, handshake_for
from ..net import bind_datagrams, bind_streams, end_in_order, peer_of
from ..protocols import proxy_header
from ..relay import Account, Carriage, Unanswered, abort, carry, receive_answer, relay
from ..specs import Address, Kind, format_address
from ..view import ForwardState
from ..wire import Purpose, Refused, pack, pack_endpoint
from ._links import NoSession
from ._session import refusal_verb

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    import muxpy

    from ..net import Bound
    from ..protocols import Handshake
    from ..specs import Endpoint, Forward
    from ..view import Console
    from ._links import Links

__all__ = ["LocalForward"]


class LocalForward:
    """One forward that is bound here."""

    def __init__(self, forward: Forward, links: Links, console: Console) -> None:
        self.forward = forward
        self.account = Account()
        self._carriage = Carriage(self.account)
        self._links = links
        self._console = console
        self._bound: Bound | None = None
        self._scope = trio.CancelScope()
        self._opening = b"" if forward.target is None else self._pack(forward.target)

    @staticmethod
    def _pack(target: Endpoint) -> bytes:
        return pack(pack_endpoint(target))

    @property
    def bound(self) -> str:
        """Where it is bound."""
        return f"{self._bound or self.forward.bind}{'/udp' if self.forward.kind is Kind.UDP else ''}"

    async def bind(self) -> None:
        """Bind the place; raises Failure with the reason."""
        bind = self.forward.bind
        if self.forward.kind is Kind.UDP:
            assert isinstance(bind, Address)
            self._bound = await bind_datagrams(bind)
        else:
            self._bound = await bind_streams(bind, forwarded=True)

    def close(self) -> None:
        """Accept no more connections; open ones continue."""
        self._scope.cancel()
        if self._bound is not None:
            self._bound.close()

    async def serve(self, relays: trio.Nursery) -> None:
        """Accept connections until closed; they run in `relays`."""
        assert self._bound is not None
        with self._scope:
            if self.forward.kind is Kind.UDP:
                await Flows(self._bound, self._route, self.account, self._complain).serve(relays)
            else:
                relays.start_soon(self._carriage.run)
                try:
                    await self._bound.serve(lambda near, _: self._take(near, relays))
                finally:
                    self._carriage.close()

    def _take(self, near: socket.socket, relays: trio.Nursery) -> None:
        """A connection has come."""
        try:
            if self.forward.target is not None:
                self._begin(near, relays)
            else:
                relays.start_soon(self._handle, self._negotiate, near)
        except Exception as error:
            self._fail(near, error)

    async def _handle(self, handler: Callable[[socket.socket], Awaitable[None]], near: socket.socket) -> None:
        try:
            await handler(near)
        except Exception as error:  # no error may end the other connections
            self._fail(near, error)

    def _fail(self, near: socket.socket, error: Exception) -> None:
        abort(near)
        self._tell_unexpected(error)

    # ---- TCP and Unix sockets ----

    def _begin(self, near: socket.socket, relays: trio.Nursery) -> None:
        """Carry it: without a task of its own, unless it has to wait for its stream."""
        self.account.total += 1
        wanted = self._console.detailed or self.forward.proxy_protocol  # otherwise nobody would hear who it is
        peer = peer_of(near) if wanted else None
        opening = self._opening + self._header(near, peer)
        ended = partial(self._ended, peer)
        far = self._links.open_now(Purpose.CONNECT)
        if far is None or not self._carriage.begin(near, far, opening, ended):
            relays.start_soon(self._handle, partial(self._carry, far, opening, ended), near)

    async def _carry(
        self, far: muxpy.Stream | None, opening: bytes, ended: Callable[[Exception | None], None], near: socket.socket
    ) -> None:
        error: Exception | None = None
        try:
            await carry(near, partial(self._open, far), opening, self.account.carrying)
        except (Refused, Unanswered, NoSession) as refused:
            error = refused
        ended(error)

    def _ended(self, peer: tuple[str, int] | None, error: Exception | None) -> None:
        if isinstance(error, Refused | Unanswered | NoSession):
            self.account.failed += 1
            self._complain(error)
        elif error is not None:
            self._tell_unexpected(error)
        if self._console.detailed:
            self._console.detail(
                f"connection from {_named(peer)} to {self.forward.target} has ended", event="connection_closed"
            )

    async def _open(self, opened: muxpy.Stream | None = None) -> muxpy.Stream:
        return opened or await self._links.open_stream(Purpose.CONNECT)

    def _header(self, near: socket.socket, peer: tuple[str, int] | None) -> bytes:
        version = self.forward.proxy_protocol
        if not version:
            return b""
        here = near.getsockname()
        local = (str(here[0]), int(here[1])) if isinstance(here, tuple) else None
        return proxy_header(version, peer, local)

    # ---- SOCKS and HTTP ----

    async def _negotiate(self, connection: socket.socket) -> None:
        handshake = handshake_for(self.forward.kind)
        peer = peer_of(connection)
        near = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        try:
            target = await greet(near, handshake)
            await self._carry_to(target, near, handshake)
        except NotServed as error:
            if str(error):
                self._console.complain(f"{self.forward.kind} client {_named(peer)}: {error}")
            await _close_politely(near)
        except BaseException:
            abort(near)
            raise

    async def _carry_to(self, target: Address, near: trio.SocketStream, handshake: Handshake) -> None:
        self.account.total += 1
        try:
            far = await self._open()
            with self.account.carrying(far):
                try:
                    await far.send_all(self._pack(target) + handshake.rest)
                    early = await receive_answer(far)
                    await near.send_all(handshake.answer(None))
                except BaseException:
                    far.reset()
                    raise
                await relay(near, far, early=early)
            self._console.detail(f"connection through {self.bound} to {target} has ended", event="connection_closed")
        except (Refused, Unanswered, NoSession, trio.BrokenResourceError) as error:
            self.account.failed += 1
            if isinstance(error, trio.BrokenResourceError):
                error = Unanswered(str(error))
            self._complain(error, target=target)
            await _answer(near, handshake.answer(error.error if isinstance(error, Refused) else "failed"))

    # ---- UDP ----

    def _route(self, _: tuple[str, int]) -> Route:
        target = self.forward.target
        assert target is not None
        return Route(
            places=self._links.flows,
            open_stream=self._open_flow,
            opening=pack(pack_endpoint(target, datagrams=True)),
            carrying=self.account.carrying,
        )

    async def _open_flow(self) -> muxpy.Stream:
        try:
            return await self._open()
        except NoSession as error:
            raise Unanswered(str(error)) from error

    # ---- telling ----

    def _tell_unexpected(self, error: Exception) -> None:
        self._console.error(f"connection to {self.bound}: {unexpected(error)}")

    def _complain(self, error: BaseException, times: int = 1, target: Address | None = None) -> None:
        """Report a failed connection; `target` is what the client of a proxy asked for."""
        if isinstance(error, Refused):
            reason = error.reason or f"{self.forward.target or target or self.forward}, and did not say why"
            text = f"the other end {refusal_verb(error)} {reason}"
        else:
            text = f"connection to {self.forward.target or target}: {error}"
        self._console.complain(counted(text, times), forward=str(self.forward), event="connection_failed")

    @property
    def _state(self) -> str:
        if self._bound is None:
            return "failed"
        return "draining" if self._bound.closed else "bound"

    def describe(self) -> ForwardState:
        """For the views."""
        received, sent = self.account.bytes()
        forward = self.forward
        return ForwardState(
            name=forward.name,
            direction=forward.direction,
            kind=forward.kind,
            bind=self.bound,
            target=str(forward.target) if forward.target is not None else None,
            state=self._state,
            connections=len(self.account.open),
            total=self.account.total,
            failed=self.account.failed,
            received=sent,  # what was sent on the streams came from the side where it is bound
            sent=received,
        )


async def _answer(near: trio.SocketStream, answer: bytes) -> None:
    try:
        await near.send_all(answer)
        await _close_politely(near)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        abort(near)


async def _close_politely(near: trio.SocketStream) -> None:
    """Close without destroying what was sent last: unread bytes would make TCP reset the connection."""
    end_in_order(near.socket)
    try:
        with trio.move_on_after(1):
            await near.send_eof()
            while await near.receive_some(4096):
                pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    near.socket.close()


def _named(peer: tuple[str, int] | None) -> str:
    return format_address(peer) if peer is not None else "a local socket"

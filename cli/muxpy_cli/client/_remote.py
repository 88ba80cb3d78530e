"""Forwards that are bound at the listening end: -R, reverse SOCKS among them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import trio

from .._errors import NOT_ALLOWED, Failure, describe, the_cause
from ..entrances import NotServed, greet, handshake_for
from ..net import all_but_ourselves, allow_all, connect_socket
from ..protocols import proxy_header
from ..relay import Account, abort, reach, relay
from ..specs import Address, Kind
from ..view import ForwardState
from ..wire import (
    ANSWER_TIMEOUT,
    DATAGRAMS,
    Message,
    Purpose,
    Refused,
    WireError,
    check_answer,
    pack,
    pack_endpoint,
    receive_message,
    unpack_integer,
)
from ._links import NoSession
from ._retrying import Backoff

if TYPE_CHECKING:
    import muxpy

    from ..specs import Endpoint, Forward
    from ..view import Console
    from ._links import Links

__all__ = [
    "RemoteForward",
]

LAST_WORD: Final = 2.0
"""Seconds for which a forward that has ended without a reason waits for the end of its session, which would be one. An
end that shuts down may end its forwards before its sessions."""

_numbers = count()


class TakenOver(Exception):
    """Another run of this client has taken the forward over: two runs must not fight for it."""


class RemoteForward:
    """One forward that is bound at the other end."""

    def __init__(self, forward: Forward, links: Links, console: Console, server: str) -> None:
        self.forward = forward
        self.account = Account()
        self.number = next(_numbers)
        self.first_time = trio.Event()
        """It has been bound once, or will not be."""
        self._links = links
        self._console = console
        self._server = server
        self._bind: Endpoint = forward.bind
        self._bound = False
        self._error: str | None = None
        self._backoff = Backoff()  # a place that was refused may be free again: its owner may go, or a rule may come
        self._scope = trio.CancelScope()
        self._session: muxpy.SessionOfStream | None = None
        """The session over which it was last requested."""
        self._before: muxpy.Stream | None = None
        """The stream that bound it over a session that is going away, where it may be bound until it is bound again."""
        self.failed_for_good = False

    def close(self) -> None:
        """Unbind it; open connections continue."""
        self._scope.cancel()

    # ---- being bound ----

    async def run(self) -> None:
        """Keep it bound until closed. Raises Failure if it cannot be bound the first time."""
        try:
            with self._scope:
                await self._keep_bound()
        finally:
            self._forget_before()
            self.first_time.set()

    async def _keep_bound(self) -> None:
        while True:
            try:
                await self._stay_bound()
            except Failure as failure:
                if not self.first_time.is_set():
                    raise
                self._error = str(failure)
                seconds = self._backoff.next_delay()
                self._console.complain(f"{failure}; trying again in {seconds:.1f} s", event="forward_failed")
                await self._wait(seconds)
            except TakenOver as error:
                self._error = str(error)
                self.failed_for_good = True
                self._console.complain(str(error), event="forward_failed")
                return
            except NoSession:  # this end is ending
                return
            except trio.BrokenResourceError:  # the session has ended; the next one is waited for
                await trio.sleep(0.1)

    async def _wait(self, seconds: float) -> None:
        """Wait before the next request. A new session starts afresh: it may be with another server."""
        assert self._session is not None
        with trio.move_on_after(seconds):
            await self._session.wait_going_away()
            self._backoff.reset()

    async def _stay_bound(self) -> None:
        """Bind it over some session, until that is over."""
        if not self._links.live:
            self._error = None  # it waits for a session, whatever the last answer was
        control = await self._links.open_stream_some_time(Purpose.LISTEN)
        self._session = control.session
        try:
            bound, early = await self._ask(control)
            self._forget_before()  # if that still had it bound, it has been taken over
            self._bound, self._error = True, None
            self._backoff.reset()
            again = "again " if self.first_time.is_set() else ""
            target = str(self.forward.target or f"what this end reaches ({self.forward.kind})")
            text = f"forwarding {bound} at {self._server} {again}-> {target}"
            self._console.line(text, style="green", bound=str(bound), target=target, event="forward_bound")
            self.first_time.set()
            await self._until_over(control, bound, early)
        except BaseException:
            control.reset()
            raise
        finally:
            self._bound = False
        self._before = control

    def _forget_before(self) -> None:
        if self._before is not None:
            self._before.reset()
            self._before = None

    async def _ask(self, control: muxpy.Stream) -> tuple[Endpoint, bytes]:
        """Request it. Where it is bound, and the bytes that came after the answer."""
        message: Message = {**pack_endpoint(self._bind), "forward": self.number}
        if self.forward.kind is Kind.UDP:
            message.update(DATAGRAMS)
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                await control.send_all(pack(message))
                answer, early = await receive_message(control)
            check_answer(answer)
            if isinstance(self._bind, Address):
                # The same port when it is bound again, so that clients find it.
                self._bind = Address(self._bind.host, unpack_integer(answer, "port", most=65535))
        except (trio.TooSlowError, WireError, Refused) as error:
            if isinstance(error, WireError) and await _is_ending(control.session):
                raise trio.BrokenResourceError("the session is ending") from error
            code = NOT_ALLOWED if isinstance(error, Refused) and error.error == "forbidden" else 1
            if code == NOT_ALLOWED:  # the rules may allow a free port, but not the previous one
                self._bind = self.forward.bind
            raise Failure(f"{self._server} does not forward {self._bind}: {describe(error)}", code) from error
        return self._bind, early

    async def _until_over(self, control: muxpy.Stream, bound: Endpoint, early: bytes) -> None:
        """Wait until its session goes away. Raises Failure or TakenOver if it is unbound for another reason."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_going_away, control.session, nursery.cancel_scope)
                await self._until_told(control, bound, early)
        except BaseExceptionGroup as group:
            raise the_cause(group) from None

    async def _until_told(self, control: muxpy.Stream, bound: Endpoint, early: bytes) -> None:
        try:
            answer, _ = await receive_message(control, early)
            check_answer(answer)
        except WireError:
            self._bound = False
            if await _is_ending(control.session):  # which is the reason
                return
            raise Failure(f"{self._server} no longer forwards {bound}, and did not say why") from None
        except Refused as refused:
            text = f"{self._server} no longer forwards {bound}: {refused}"
            if refused.error == "taken over":
                raise TakenOver(text) from None
            raise Failure(text) from None

    # ---- connections ----

    async def serve(self, stream: muxpy.Stream, message: Message, early: bytes) -> None:
        """Serve a connection that came to the bound place. Raises Refused after the other end was told."""
        self.account.total += 1
        target: Endpoint | None = self.forward.target
        with self.account.carrying(stream):
            try:
                if target is None:
                    target = await self._serve_proxy(stream, early)
                else:
                    header = self._header(message)
                    datagrams = self.forward.kind is Kind.UDP
                    await reach(stream, target, allow_all, early, header=header, datagrams=datagrams)
            except Refused:
                self.account.failed += 1
                raise
        if self._console.detailed:
            self._console.detail(
                f"connection from {self._server} to {target or 'nowhere'} has ended", event="connection_closed"
            )

    def _header(self, message: Message) -> bytes:
        version = self.forward.proxy_protocol
        if not version:
            return b""
        return proxy_header(version, _pair(message.get("peer")), _pair(message.get("local")))

    async def _serve_proxy(self, stream: muxpy.Stream, early: bytes) -> Address | None:
        """Reverse SOCKS: the client at the other end names a target, which is reached from here. Returns the target;
        None if it named none."""
        await stream.send_all(pack({}))
        handshake = handshake_for(self.forward.kind)
        try:
            target = await greet(stream, handshake, early)
        except NotServed as error:
            if str(error):
                self._console.complain(f"{self.forward.kind} client at {self._server}: {error}")
            return None
        try:
            near = await connect_socket(target, all_but_ourselves)
        except Refused as refused:
            await stream.send_all(handshake.answer(refused.error))
            raise
        try:
            await stream.send_all(handshake.answer(None))
        except BaseException:
            abort(near)
            raise
        await relay(near, stream, early=handshake.rest)
        return target

    @property
    def _state(self) -> str:
        if self._error and not self._bound:
            return "failed"
        if self._scope.cancel_called:
            return "draining"
        return "bound" if self._bound else "waiting"

    def describe(self) -> ForwardState:
        """For the views."""
        received, sent = self.account.bytes()
        forward = self.forward
        return ForwardState(
            name=forward.name,
            direction=forward.direction,
            kind=forward.kind,
            bind=str(self._bind),
            target=str(forward.target) if forward.target is not None else None,
            state=self._state,
            connections=len(self.account.open),
            total=self.account.total,
            failed=self.account.failed,
            received=received,
            sent=sent,
            error=self._error,
        )

    @property
    def bound(self) -> bool:
        """Whether it is bound now."""
        return self._bound


async def _is_ending(session: muxpy.SessionOfStream) -> bool:
    """Whether a session is about to end, which explains an end without a reason on it."""
    with trio.move_on_after(LAST_WORD):
        await session.wait_going_away()
    return session.going_away


async def _cancel_when_going_away(session: muxpy.SessionOfStream, scope: trio.CancelScope) -> None:
    await session.wait_going_away()
    scope.cancel()


def _pair(value: object) -> tuple[str, int] | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
        return value[0], value[1]
    return None

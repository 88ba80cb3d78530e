"""The connecting end: its sessions, and the forwards over them."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from .._errors import Failure, cut_text, draining_text
from .._garbage import Garbage
from .._identity import program_version
from ..relay import GRACE, receive_opening, refuse, serve_streams
from ..specs import Direction, Kind
from ..view import Snapshot, Totals
from ..wire import Purpose, Refused, WireError, unpack_integer
from ._links import Links
from ._local import LocalForward
from ._remote import RemoteForward

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._options import ConnectOptions
    from .._tracing import Trace
    from ..specs import Forward
    from ..view import Console
    from ._session import Credentials

__all__ = ["Client"]


PATIENCE: Final = 1.0
"""Seconds for the first session, before a line says what is bound without one."""


class Client:
    """Everything of one `muxpy connect`."""

    def __init__(
        self, options: ConnectOptions, credentials: Credentials, console: Console, trace: Trace | None = None
    ) -> None:
        self._options = options
        self._console = console
        self._started = time.time()
        self.links = Links(options, credentials, console, self._serve, trace)
        self._forwards: dict[Forward, LocalForward | RemoteForward] = {}
        self._relays: trio.Nursery
        self._work: trio.Nursery
        self._linked = False
        self._begun = trio.Event()  # all is bound that is bound here
        self._ended = trio.Event()
        self.draining = False

    async def run(self, started: Callable[[], object]) -> None:
        """Forward until drained; calls `started` when all local forwards are bound. Raises Failure if a forward cannot
        be bound, or there can never be a session."""
        with Garbage():
            await self._run(started)

    async def _run(self, started: Callable[[], object]) -> None:
        async with trio.open_nursery() as self._relays:
            async with trio.open_nursery() as self._work:
                # Local forwards need no session, and may fail, so they come first.
                for forward in self._options.forwards:
                    if _is_local(forward):
                        await self._bind(forward)
                    else:
                        self._forwards[forward] = self._remote(forward)
                for link in self.links.links:
                    self._work.start_soon(self._or_leave, partial(self.links.run, link))
                self._linked = True
                # A reload starts itself those that it adds from now on.
                local_ones, remote_ones = self._locals, self._remotes
                for local in local_ones:
                    self._work.start_soon(local.serve, self._relays)
                self._begun.set()
                started()
                await self._first_session(local_ones)
                for local in filter(self._is_there, local_ones):
                    self._tell(local)
                for remote in remote_ones:
                    self._work.start_soon(self._or_leave, partial(self._run_remote, remote))
                    await remote.first_time.wait()
            self._relays.cancel_scope.deadline = trio.current_time() + GRACE
        self._ended.set()

    async def _first_session(self, local_ones: list[LocalForward]) -> None:
        """Wait for the first session. If it takes long, say what is bound meanwhile."""
        with trio.move_on_after(PATIENCE):
            await self.links.session()
            return
        for local in filter(self._is_there, local_ones):
            self._console.line(
                f"{local.bound} is bound, and connections to it wait {self._options.connect_wait:g} s for a session",
                bound=local.bound,
                event="forward_waiting",
            )
        await self.links.session()

    def _is_there(self, local: LocalForward) -> bool:
        """Whether no reload has removed it."""
        return self._forwards.get(local.forward) is local

    async def _bind(self, forward: Forward) -> LocalForward:
        local = LocalForward(forward, self.links, self._console)
        await local.bind()
        self._forwards[forward] = local
        return local

    def _tell(self, local: LocalForward) -> None:
        forward = local.forward
        target = str(forward.target) if forward.target is not None else f"what its rules allow ({forward.kind})"
        text = f"forwarding {local.bound} -> {self._options.address} -> {target}"
        self._console.line(
            text, style="green", bound=local.bound, target=target, kind=forward.kind, event="forward_bound"
        )

    def _remote(self, forward: Forward) -> RemoteForward:
        return RemoteForward(forward, self.links, self._console, str(self._options.address))

    async def _or_leave(self, work: Callable[[], Awaitable[None]]) -> None:
        """A failure ends everything, and the other end is told."""
        try:
            await work()
        except Failure:
            await self.links.leave()
            raise

    async def _run_remote(self, remote: RemoteForward) -> None:
        await remote.run()
        if remote.failed_for_good and all(
            isinstance(one, RemoteForward) and one.failed_for_good for one in self._forwards.values()
        ):
            raise Failure("no forward is left")

    # ---- sessions ----

    async def _serve(self, session: muxpy.Session) -> None:
        """Handle the streams of one session until it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_streams, session, self._handle)
            await session.wait()
            nursery.cancel_scope.deadline = trio.current_time() + GRACE

    async def _handle(self, stream: muxpy.Stream) -> None:
        """A stream that the other end opened: a connection to one of our remote forwards."""
        try:
            message, early = await receive_opening(stream)
            number = unpack_integer(message, "forward", most=2**31)
            remote = next((one for one in self._remotes if one.number == number), None)
            if stream.stream_type != Purpose.FORWARDED:
                raise WireError("it opened a stream of a kind that it may not open")
            if remote is None:  # it has just been closed
                await refuse(stream, Refused("unknown", "this forward has ended"))
                return
            await remote.serve(stream, message, early)
        except Refused as refused:
            self._console.complain(f"cannot reach {refused}", event="connection_failed")
        except WireError as error:
            self._console.complain(f"stream from {self._options.address}: {error}")
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)

    @property
    def _remotes(self) -> list[RemoteForward]:
        return [one for one in self._forwards.values() if isinstance(one, RemoteForward)]

    @property
    def _locals(self) -> list[LocalForward]:
        return [one for one in self._forwards.values() if isinstance(one, LocalForward)]

    # ---- changing and ending ----

    async def reload(self, options: ConnectOptions) -> None:
        """Apply new options. Connections of removed forwards continue until they end. Raises Failure, with nothing
        changed."""
        await self._begun.wait()
        if self.draining:
            raise Failure("it is ending")
        self.links.use(options)
        for forward in set(self._forwards) - set(options.forwards):
            gone = self._forwards.pop(forward)
            gone.close()
            self._console.event(f"no longer forwarding {forward}", event="forward_released")
        self._options = options
        for forward in options.forwards:
            if forward not in self._forwards and not self.draining:
                await self._add(forward)

    async def _add(self, forward: Forward) -> None:
        if not _is_local(forward):
            remote = self._remote(forward)
            remote.first_time.set()  # a failure must not end the other forwards
            self._forwards[forward] = remote
            self._work.start_soon(self._or_leave, partial(self._run_remote, remote))
            return
        try:
            local = await self._bind(forward)
        except Failure as failure:
            self._console.complain(str(failure))
            return
        if self.draining:  # since it started to look the name up
            local.close()
            return
        self._work.start_soon(local.serve, self._relays)
        self._tell(local)

    async def drain(self) -> None:
        """Graceful shutdown: accept nothing new, and let open connections finish, for as long as the options say."""
        self._end_flows()
        accounts = [one.account for one in self._forwards.values() if one.forward.kind != Kind.UDP]
        count = sum(len(account.open) for account in accounts)
        cut_before = sum(account.cut for account in accounts)
        if count:
            self._console.event(draining_text(count, self._options.drain), event="draining")
        self.draining = True
        for forward in self._forwards.values():
            forward.close()
        if self._linked:
            await self.links.drain()
        self._work.cancel_scope.cancel()
        await self._ended.wait()  # data that has arrived is still on its way to slow readers
        if cut := sum(account.cut for account in accounts) - cut_before:
            self._console.error(cut_text(cut, self._options.drain), event="cut_off")

    def _end_flows(self) -> None:
        """UDP flows have no end of their own, so there is nothing to wait for."""
        for forward in self._forwards.values():
            if forward.forward.kind is Kind.UDP:
                for stream in list(forward.account.open):
                    stream.reset()

    # ---- telling ----

    @property
    def ready(self) -> bool:
        """Whether there is a session, and every remote forward is bound."""
        return bool(self.links.live) and all(remote.bound for remote in self._remotes)

    @property
    def summary(self) -> str:
        """In a few words."""
        return f"connect {self._options.address}, {len(self._forwards)} forwards"

    async def snapshot(self, most: int | None = None) -> Snapshot:
        """For the views. Lists everything, whatever `most` says: a client has only what its options name."""
        await trio.lowlevel.checkpoint()
        links = self.links.links
        sessions = tuple(state for link in links for state in link.describe(str(self._options.address)))
        forwards = tuple(forward.describe() for forward in self._forwards.values())
        return Snapshot(
            role="connect",
            address=str(self._options.address),
            version=program_version(),
            pid=os.getpid(),
            started=self._started,
            at=time.time(),
            ready=self.ready,
            draining=self.draining,
            sessions=sessions,
            forwards=forwards,
            totals=Totals(
                sessions=self.links.sessions,
                connections=sum(one.total for one in forwards),
                failed=sum(one.failed for one in forwards),
                received=sum(one.received for one in sessions) + sum(link.received for link in links),
                sent=sum(one.sent for one in sessions) + sum(link.sent for link in links),
                reconnects=max(0, self.links.sessions - len(links)),
            ),
            events=self._console.events,
        )


def _is_local(forward: Forward) -> bool:
    return forward.direction is Direction.LOCAL

"""The sessions of a client: connected again and again, for as long as it runs.

The first connection is tried forever, like later ones: a client that is started with its machine must not depend on
which end starts first. Before its first session, a failure that waiting cannot mend (a wrong token or certificate) ends
the client: somebody is there and reads the message. Later nobody may be there; what was right has been changed at the
other end, and may be changed back. So the same failure is retried then.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from .._errors import NOT_ALLOWED, Failure, Unreachable, describe, the_cause
from ..entrances import Places
from ._link import Link
from ._retrying import Backoff, Demand, not_allowed_delay, soon
from ._session import Credentials, leave, log_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._options import ConnectOptions
    from .._tracing import Trace
    from ..view import Console
    from ..wire import Purpose

__all__ = ["Link", "Links", "NoSession"]

STABLE: Final = 10.0
"""Seconds after which a session counts as stable, so that the backoff starts afresh: otherwise a listening end that
accepts sessions and drops them would be asked twice a second. An attempt that takes as long and fails is no session."""

MOST_HURRIES: Final = 5
"""Reasons that are shown, in one outage, for failed attempts that connections wait for."""


class NoSession(Exception):
    """There was no session to open a stream on: none came in time, or none will come."""


_ENDING: Final = "this end is ending, and has no session any more"


class Links:
    """All links; streams are opened here."""

    def __init__(
        self,
        options: ConnectOptions,
        credentials: Credentials,
        console: Console,
        serve: Callable[[muxpy.Session], Awaitable[None]],
        trace: Trace | None = None,
    ) -> None:
        """`serve(session)` runs beside each session, and returns when the session has ended."""
        self._options = options
        self._credentials = credentials
        self._console = console
        self._serve = serve
        self._trace = trace
        self._changed = trio.lowlevel.ParkingLot()
        self._demand = Demand()
        self.links = [Link(slot) for slot in range(options.sessions)]
        self.flows = Places()
        """For UDP flows, over all sessions together."""
        self.sessions = 0
        """The number of sessions so far."""
        self.draining = False
        """No more sessions are made."""

    def use(self, options: ConnectOptions) -> None:
        """Use these options from the next attempt on. Raises Failure."""
        self._credentials = Credentials(options, self._credentials)
        self._options = options
        self._demand.reloaded()

    @property
    def live(self) -> list[Link]:
        """Those that have a session that accepts streams, as far as is known."""
        return [link for link in self.links if link.live]

    async def session(self) -> muxpy.Session:
        """The session with the fewest streams; waits until there is one."""
        while (link := self._emptiest()) is None:
            await self._changed.park()
        assert link.session is not None
        return link.session

    def _emptiest(self) -> Link | None:
        if len(self.links) == 1:
            return self.links[0] if self.links[0].live else None
        return min(self.live, key=Link.streams, default=None)

    def open_now(self, purpose: Purpose) -> muxpy.Stream | None:
        """Open a stream on some session; None if that is to be waited for."""
        link = self._emptiest()
        try:
            return link.open_now(purpose) if link is not None else None
        except (muxpy.SessionClosed, trio.WouldBlock):
            return None

    async def open_stream(self, purpose: Purpose) -> muxpy.Stream:
        """Open a stream on some session; waits as long as the options say, then raises NoSession."""
        if len(live := self.live) == 1:
            try:
                return await live[0].open_stream(purpose)
            except muxpy.SessionClosed:
                pass  # it has just ended
        if self.draining:
            raise NoSession(_ENDING)
        with self._demand.waiting(), trio.move_on_after(self._options.connect_wait):
            return await self.open_stream_some_time(purpose)
        raise NoSession(f"no session with {self._options.address} within {self._options.connect_wait:g} seconds")

    async def open_stream_some_time(self, purpose: Purpose) -> muxpy.Stream:
        """Open a stream on some session; waits as long as it takes. Raises NoSession if none will come."""
        while True:
            if (link := self._emptiest()) is not None:
                with suppress(muxpy.SessionClosed):  # another session is next
                    return await link.open_stream(purpose)
            elif self.draining:
                raise NoSession(_ENDING)
            else:
                await self._changed.park()

    async def run(self, link: Link) -> None:
        """Keep one link connected. Raises Failure if that can never work, or too many attempts failed."""
        try:
            async with trio.open_nursery() as nursery:
                with link.scope:
                    await self._keep_connected(link, nursery)
        except BaseExceptionGroup as group:
            raise the_cause(group) from None
        finally:
            link.over.set()

    async def _keep_connected(self, link: Link, nursery: trio.Nursery) -> None:
        """Sessions run in `nursery`: one that is left continues beside the next."""
        ever = False
        prompt = True
        backoff = Backoff()
        while True:
            allowed, up_at, left = True, None, False
            link.state = "connecting"
            try:
                session = await nursery.start(self._have_session, link)
                ever, up_at = True, trio.current_time()
                left, reason = await self._until_left(link, session, nursery)
            except Failure as failure:
                if not ever and not isinstance(failure, Unreachable):
                    raise
                reason, allowed = str(failure), failure.exit_code != NOT_ALLOWED
            if self.draining:
                return
            if up_at is not None and trio.current_time() - up_at >= STABLE:
                backoff.reset()
                prompt = True
            if left and prompt and self._options.max_retries != 0:
                prompt = False  # or a peer that accepts sessions and ends them would be asked without a pause
                continue
            link.down(reason)
            await self._check_retries(link, reason)
            event = "connect_failed" if up_at is None else "disconnected"
            await self._wait(link, f"{reason}; trying again", event, backoff if allowed else None)

    async def _have_session(self, link: Link, task_status: trio.TaskStatus[muxpy.Session]) -> None:
        """One session, from connecting until its end. Raises Failure if there can be none."""
        address = self._options.address
        tell = partial(self._tell_progress, link)
        async with log_in(self._options, self._credentials, slot=link.slot, trace=self._trace, tell=tell) as session:
            link.up(session)
            self.sessions += 1
            self._console.event(
                f"connected to {address}", style="green", peer=str(address), slot=link.slot, event="connected"
            )
            self._changed.unpark_all()
            task_status.started(session)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, session)
                end = await session.wait()
                self._gone(link, session, end)

    def _tell_progress(self, link: Link, text: str) -> None:
        """Show it, but only with -v for further attempts of an outage."""
        tell = self._console.detail if link.attempts else self._console.event
        tell(text, slot=link.slot, event="connecting")

    def _gone(self, link: Link, session: muxpy.Session, end: muxpy.SessionEnd) -> None:
        if session in link.leaving:
            why = f": {describe(end.error)}" if end.error is not None else ""
            self._console.event(f"the old session with {self._options.address} has ended{why}", event="drained")
        link.gone(session)

    async def _until_left(self, link: Link, session: muxpy.Session, nursery: trio.Nursery) -> tuple[bool, str]:
        """Wait until a session accepts no more streams: whether it continues with the open ones, and why it ended or
        will end. If it continues, the next session is opened beside it immediately: the listening end frees its port
        before it announces its end, and the next server may listen there already."""
        address = self._options.address
        await session.wait_going_away()
        if session.end is not None or self.draining:
            end = await session.wait()
            reason = describe(end.error) if end.error is not None else "the other end closed it"
            return False, f"the session with {address} has ended: {reason}"
        link.leave()
        if link.used_up:
            # It would last as long as any of its streams. So these get the time for draining.
            reason = "the session has used up its stream ids"
            self._console.complain(f"{reason}: a new one takes over", event="ids_used_up")
            nursery.start_soon(session.aclose)
        else:
            reason = f"{address} is ending the session"
            self._console.event(f"{reason}: new connections go over a new one", style="yellow", event="going_away")
            # The other end waits for this answer: no stream of ours is on its way any more. Its own still may be.
            session.go_away(final=False)
        return True, reason

    async def _check_retries(self, link: Link, reason: str) -> None:
        """One more attempt has failed. Raises Failure if that is one too many."""
        link.attempts += 1
        most = self._options.max_retries
        if most is not None and link.attempts > most:
            await link.all_left()
            raise Failure(reason if not most else f"{reason} (tried {link.attempts} times)")

    async def _wait(self, link: Link, text: str, event: str, backoff: Backoff | None) -> None:
        """Wait until the next attempt. Without a `backoff`, as after a failed authentication."""
        wanted = backoff is not None and backoff.begun and self._demand.wanted
        if wanted:
            seconds = soon()
            self._tell_hurry(link, f"{text} every second while connections want the session", event)
        else:
            seconds = backoff.next_delay() if backoff is not None else not_allowed_delay()
            link.hurries.clear()
            when = f"{seconds:.1f} s" if seconds < 60 else f"{seconds:.0f} s"
            self._console.complain(f"{text} in {when}", attempt=link.attempts, event=event)
        why = await self._demand.sleep(seconds, hurry=backoff is not None)
        if why is not None:  # a delay that was told holds, or the log says what has cut it short
            self._console.event(f"trying again now: {why}", attempt=link.attempts, event="retry_early")

    def _tell_hurry(self, link: Link, text: str, event: str) -> None:
        """Show each text once, and few of them: an outage may last for hours, its attempts may fail for alternating
        reasons, and that would be a line a second."""
        if text in link.hurries or len(link.hurries) >= MOST_HURRIES:
            self._console.detail(text, attempt=link.attempts, event=event)
            return
        link.hurries.add(text)
        self._console.complain(text, attempt=link.attempts, event=event)

    async def leave(self) -> None:
        """Make no more sessions, and end the existing ones, after a failure of the whole client."""
        self.draining = True
        async with trio.open_nursery() as nursery:
            for link in self.links:
                for session in link.sessions:
                    nursery.start_soon(leave, session)

    async def drain(self) -> None:
        """Make no more sessions, let the streams of the existing ones finish, and deliver all their data."""
        self.draining = True
        self._changed.unpark_all()  # to tell those who wait for a session
        async with trio.open_nursery() as nursery:
            for link in self.links:
                if link.session is not None:
                    link.state = "draining"
                link.scope.cancel()
                for session in link.sessions:
                    nursery.start_soon(session.aclose)
        for link in self.links:
            await link.over.wait()

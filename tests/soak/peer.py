"""One end of a session under load: opens streams, serves the other's, and judges how each ended."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from .carry import Cut, End, Mismatch, PlanReader, read_plan
from .plan import Act, Kind, Plan, draw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from .carry import Tally

__all__ = ["Mishap", "Peer", "ask_for_end", "leaves"]

PATIENCE: Final = 30.0
"""Seconds that a stream may take. The longest need two or three; a machine under load some more."""

ENDING: Final = 5.0
"""Seconds within which a session ends after it reset its streams for that."""

THINK: Final = 0.04
"""Seconds between two streams of a task, on average: busy, but not all that the machine has."""


class Mishap(Exception):
    """What a handler or a session's block raises, as planned."""


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


class Peer:
    """One end of one session. `lasting`: it is to last the whole run, so that its end is a fault."""

    def __init__(self, session: muxpy.Session, tally: Tally, rng: Random, *, lasting: bool = False) -> None:
        self.session = session
        self.tally = tally
        self.rng = rng
        self.lasting = lasting

    # ---- streams that this side opens ----

    async def load(self, stop: trio.Event, tasks: int) -> None:
        """Open streams until `stop` or the end of the session, and wait for the last ones."""
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(self._open_many, stop)

    async def _open_many(self, stop: trio.Event) -> None:
        while not stop.is_set():
            with trio.move_on_after(self.rng.expovariate(1 / THINK)):
                await stop.wait()
            if not await self.one(draw(self.rng)):
                return

    async def one(self, plan: Plan) -> bool:
        """Open a stream and do what the plan says. False if the session has ended or goes away."""
        self.tally.opened += 1
        return await self._judged(plan, partial(self._open, plan))

    async def _open(self, plan: Plan) -> None:
        scope = trio.CancelScope()
        if plan.opener is Act.CANCEL:
            scope.deadline = trio.current_time() + plan.moment
        with scope:
            stream = None
            try:
                stream = await self.session.open_stream(stream_type=list(Kind).index(plan.kind))
            finally:
                self.tally.cancelled_opens += stream is None
            async with stream:
                await stream.send_all(plan.encode())
                await End(stream, plan, self.tally, opener=True).run()
        if scope.cancelled_caught:
            raise Cut

    # ---- streams that the peer opens ----

    async def serve(self) -> None:
        """Until the session ends."""
        try:
            await self.session.serve_streams(self._handle)
        except muxpy.SessionClosed as closed:
            if self.lasting:
                self.tally.fail(f"a session that was to last: {closed}")

    async def _handle(self, stream: muxpy.Stream) -> None:
        self.tally.handled += 1
        plans: list[Plan] = []
        work = self._spliced_head if stream.stream_type == list(Kind).index(Kind.HEAD) else self._served
        await self._judged(None, partial(work, stream, plans), plans)
        if plans and plans[0].handler is Act.RAISE:
            raise Mishap("as planned")

    async def _served(self, stream: muxpy.Stream, plans: list[Plan]) -> None:
        found = await read_plan(stream)
        if found is None:
            raise Cut
        plan, rest = found
        plans.append(plan)
        if plan.handler is Act.END:
            await self.session.aclose()
        elif plan.handler is Act.KILL:
            self.session.kill()
        scope = self._scope(plan)
        with scope:
            if plan.kind is Kind.EARLY:
                await self._spliced(stream, plan, early=rest)
            else:
                # Who is cancelled closes the stream while that lasts. Else it is up to serve_streams.
                async with stream if plan.handler is Act.CANCEL else nullcontext():
                    await End(stream, plan, self.tally, opener=False, rest=rest).run()
        if scope.cancelled_caught:
            raise Cut

    def _scope(self, plan: Plan) -> trio.CancelScope:
        deadline = trio.current_time() + plan.moment if plan.handler is Act.CANCEL else float("inf")
        return trio.CancelScope(deadline=deadline)

    async def _spliced(self, stream: muxpy.Stream, plan: Plan, early: bytes) -> None:
        """Join the stream to a local socket, and do what the plan says at the socket's other end."""
        near, far = _sockets()
        async with stream, near, far, trio.open_nursery() as nursery:
            nursery.start_soon(partial(stream.splice, near, early=early))
            await End(far, plan, self.tally, opener=False).run()
        self.tally.spliced += 1

    async def _spliced_head(self, stream: muxpy.Stream, plans: list[Plan]) -> None:
        """The same, but the plan is read by the splice."""
        near, far = _sockets()
        known = trio.Event()

        reading = PlanReader()

        def head(part: bytes) -> bytes | None:
            rest = reading(part)
            if not part:
                raise Cut
            if reading.plan is not None:
                plans.append(reading.plan)
                known.set()
            return rest

        scope = trio.CancelScope()
        with scope:
            async with stream, near, far, trio.open_nursery() as nursery:
                nursery.start_soon(partial(stream.splice, near, head=head))
                await known.wait()
                scope.deadline = self._scope(plans[0]).deadline
                await End(far, plans[0], self.tally, opener=False).run()
        if scope.cancelled_caught:
            raise Cut
        self.tally.spliced += 1

    # ---- how streams end ----

    async def _judged(self, plan: Plan | None, work: Callable[[], Awaitable[None]], plans: Sequence[Plan] = ()) -> bool:
        try:
            with trio.fail_after(PATIENCE):
                await work()
        except (Exception, BaseExceptionGroup) as error:
            errors = [leaf for leaf in leaves(error) if isinstance(leaf, Exception)]
            if len(errors) < len(leaves(error)):  # cancelled with its session: how it ends says no more than that
                self.tally.failures += [repr(leaf) for leaf in errors if isinstance(leaf, Mismatch)]
                raise _cancellation(error) from None
            plan = plan or (plans[0] if plans else None)
            return await self._judge(plan, errors)
        self.tally.whole += 1
        return True

    async def _judge(self, plan: Plan | None, errors: list[Exception]) -> bool:
        """Whether the session goes on. What nobody planned is noted as a failure."""
        if all(isinstance(error, Cut) for error in errors):
            self.tally.cut += 1
            return True
        if not self.lasting and any(isinstance(error, muxpy.SessionClosed) for error in errors):
            self.tally.lost += 1
            return False
        if all(_is_fair(error, plan) for error in errors):
            self.tally.cut += 1
            return True
        if not self.lasting and all(isinstance(error, trio.BrokenResourceError) for error in errors):
            with trio.move_on_after(ENDING):  # its streams were reset because it ends
                await self.session.wait()
                self.tally.lost += 1
                return False
        self.tally.fail(f"{plan}: {', '.join(map(repr, errors))}")
        return True


def _cancellation(error: BaseException) -> BaseException:
    """The part of a group that is not an ordinary exception."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    _, rest = error.split(Exception)
    assert rest is not None
    return rest


def _is_fair(error: Exception, plan: Plan | None) -> bool:
    """Whether a stream with such a plan may end so."""
    if isinstance(error, Mismatch):
        return False
    if plan is None:  # cut before the other end had said what is planned
        return isinstance(error, muxpy.StreamReset) and error.by_peer
    return plan.faulty and isinstance(error, Cut | trio.BrokenResourceError | trio.ClosedResourceError)


def ask_for_end(rng: Random, how: Act) -> Plan:
    """A stream whose handler ends the session."""
    return replace(draw(rng), handler=how, opener=Act.WHOLE, kind=Kind.PLAIN)


def _sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    near, far = socket.socketpair()
    return trio.SocketStream(trio.socket.from_stdlib_socket(near)), trio.SocketStream(
        trio.socket.from_stdlib_socket(far)
    )

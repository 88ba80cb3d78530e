"""Sessions that are kept up, and calls that go over whichever of them has the least to do."""

from __future__ import annotations

import logging
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from ._endpoint import endpoint_of
from ._errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from muxpy import Session

    from ._endpoint import Endpoint
    from ._errors import Error
    from ._service import Method

__all__ = ["Pool", "pool"]

log = logging.getLogger("muxpy.rpc")

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 30.0
"""Seconds before the second try to connect, and at most: the delay doubles with each one that fails, with jitter."""

LASTING: Final = 5.0
"""Seconds after which a session counts as one that has worked, so that the delays begin anew."""


class Pool:
    """See `pool`. It is what `client` takes in place of a session."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Session]]) -> None:
        self._connect = connect
        self._endpoints: set[Endpoint] = set()
        self._news = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def sessions(self) -> list[Session]:
        """The sessions that take calls at this moment."""
        return [endpoint.session for endpoint in self._endpoints]

    async def endpoint(self) -> Endpoint:
        """The one with the least to do; waits while there is none. Raises Unavailable if the pool is closed."""
        while not self._endpoints:
            if self._closed:
                raise Unavailable("the pool is closed", retryable=True)
            await self._news.park()
        return min(self._endpoints, key=_waiting)

    def again(self, error: Error, method: Method) -> bool:
        """What was not begun is done on another session, and so is what does no harm when it is done twice."""
        return not self._closed and (error.retryable or (method.idempotent and isinstance(error, Unavailable)))

    async def keep(self, nursery: trio.Nursery) -> None:
        """Have one session, again and again. The next one begins as soon as the last takes no more calls; later if that
        did not last."""
        delays = _Delays()
        while True:
            over = trio.Event()
            nursery.start_soon(self._run, over, delays)
            await over.wait()
            await delays.wait()

    async def _run(self, over: trio.Event, delays: _Delays) -> None:
        begun = trio.current_time()
        try:
            async with self._connect() as session:
                await self._use(session)
                if trio.current_time() - begun > LASTING:
                    delays.reset()
                over.set()
            # Only now: leaving the block waits for the calls that are still under way, beside the next session.
        except (OSError, trio.BrokenResourceError) as error:
            log.warning("no session: %s", error)
        finally:
            over.set()

    async def _use(self, session: Session) -> None:
        endpoint = endpoint_of(session)
        self._endpoints.add(endpoint)
        self._news.unpark_all()
        try:
            await session.wait_going_away()
        finally:
            self._endpoints.discard(endpoint)

    def close(self) -> None:
        """Nobody keeps sessions any more."""
        self._closed = True
        self._news.unpark_all()


def _waiting(endpoint: Endpoint) -> int:
    return endpoint.waiting


class _Delays:
    """Exponential backoff with full jitter."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0.0

    def reset(self) -> None:
        self._next = 0.0

    async def wait(self) -> None:
        await trio.sleep(random.uniform(0, self._next))
        self._next = min(max(2 * self._next, FIRST_DELAY), LONGEST_DELAY)


@asynccontextmanager
async def pool(connect: Callable[[], AbstractAsyncContextManager[Session]], size: int = 1) -> AsyncIterator[Pool]:
    """Keep `size` sessions up while the block runs, and make the calls of clients over the one with the least to do:

        async with rpc.pool(partial(muxpy.open_tcp_session, "db.example", 4000), size=4) as pool:
            calculator = rpc.client(pool, Calculator)

    `connect` makes a session, as an async context manager. When it raises OSError, or a session ends, there is another
    one after a delay, with exponential backoff and jitter; when the other side says that a session goes away, the next
    one begins at once, and the calls on the old one end in order.

    Calls wait while there is no session. What the other side cannot have acted on is sent again by itself, within the
    deadline of its caller; calls of methods that are marked `idempotent` also if it may have. All others raise
    Unavailable.
    """
    made, failure = Pool(connect), None
    async with trio.open_nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(made.keep, nursery)
        try:
            yield made
        except BaseException as error:
            failure = error  # kept until the nursery is closed, which would wrap it in a group
        made.close()
        nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # whose frames are this one, too: a circle

"""Opening streams, and the waits before that: until the peer takes one more, and for backpressure to cease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy._errors import SessionClosed, SessionGoingAway

from ._parking import Lot

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import Core, Opening, StreamState

    from ._ending import Ending
    from ._writer import Writer

__all__ = ["Openers"]


class Openers:
    """The tasks that open streams. A task that has opened one, or gives up, wakes the next task: many may wait for few
    places, and waking all of them for each place would cost more than the streams (a thundering herd)."""

    def __init__(
        self,
        core: Core,
        ending: Ending,
        writer: Writer,
        comes_back: Callable[[], None],
        max_control_frames: int,
    ) -> None:
        self.waiting = 0  # tasks that wait for the peer to take one more; a plain number, since every stream asks
        self._core = core
        self._ending = ending
        self._writer = writer
        self._comes_back = comes_back  # see `Lead`
        self._enough_queued = max_control_frames // 2  # more control frames than that hold up openers
        self._parked = Lot()

    async def open(self, opening: Opening, *, fin: bool) -> StreamState:
        """See Session.open_stream. The caller must call `Engine.acted` after it."""
        self._core.check_opening(opening)
        self._comes_back()
        await trio.lowlevel.checkpoint()
        self.check()
        try:
            if self.waiting:  # they come first
                await self._park()
                self.check()
            while not self._core.may_open or self._flooded:
                await (self._writer.next_written() if self._core.may_open else self._park())
                self.check()
        except BaseException:
            self.wake()  # the place that this task was woken for goes to the next one
            raise
        return self._core.open(opening, fin=fin)

    def open_nowait(self, opening: Opening, *, fin: bool) -> StreamState:
        """See Session.open_stream_nowait. The caller must call `Engine.acted` after it."""
        self._core.check_opening(opening)
        self.check()
        if self.waiting or not self._core.may_open or self._flooded:
            raise trio.WouldBlock
        return self._core.open(opening, fin=fin)

    @property
    def _flooded(self) -> bool:
        return self._core.sending.outbox.control_frames > self._enough_queued

    async def _park(self) -> None:
        self.waiting += 1
        try:
            await self._parked.park()
        finally:
            self.waiting -= 1

    def wake(self) -> None:
        """The peer may take one more."""
        if self._core.may_open:
            self._parked.unpark()

    def wake_all(self) -> None:
        """All tasks look again: perhaps no stream can be opened any more."""
        self._parked.unpark_all()

    def check(self) -> None:
        """Raise SessionGoingAway or SessionClosed if no more streams can be opened."""
        core, ending = self._core, self._ending
        if core.can_open and ending.end is None and not ending.draining:
            return
        if ending.end is not None:
            raise SessionClosed(ending.end, retryable=True)  # on another session: nothing was sent
        if core.remote_goaway is not None:
            raise SessionGoingAway("the peer is going away")
        if core.used_up:
            raise SessionGoingAway("the session has used up its stream ids")
        if not core.can_open:
            raise RuntimeError("in this protocol only the other side opens streams")
        raise SessionGoingAway("this session is being closed")

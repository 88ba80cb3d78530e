"""Who waits on one stream: what the stream's state tells, and whom that wakes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from muxpy.proto import StreamState

__all__ = ["Spliced", "Waiting", "Wakings", "waiting_of"]

WOKEN_A_TURN: Final = 64
"""Tasks that are woken together because their streams have ended; each takes tens of microseconds to end itself."""


class Spliced(Protocol):
    """A splice of the stream, which is told instead of a task."""

    def on_arrived(self) -> None:
        """There is new data to be passed on."""

    def on_receivable(self) -> None:
        """The stream has received something, or has ended."""

    def on_sendable(self) -> None:
        """What stood in line was sent, or cannot be sent any more."""


class Waiting:
    """The handle of one stream (`proto.Handle`): at most one task waits in each direction. A field each and not an
    event: idle streams must cost little. It knows no stream, so it needs no cycle collector."""

    __slots__ = ("_receiver", "_sender", "_watchers", "splice", "unsent")

    def __init__(self) -> None:
        self.unsent = False  # of what the sender was given, something has not been handed to the transport yet
        self.splice: Spliced | None = None
        self._sender: trio.lowlevel.Task | None = None
        self._receiver: trio.lowlevel.Task | None = None
        self._watchers: set[Callable[[], object]] | None = None  # made only for those who watch

    # ---- the tasks ----

    async def as_sender(self) -> None:
        """Wait until what was submitted is sent, the window is open, or the stream is over."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._sender = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._sender = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def as_receiver(self) -> None:
        """Wait until something was received, or the stream is over."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake_receiver(self) -> None:
        """There is something to receive."""
        task = self._receiver
        if task is not None:
            self._receiver = None
            trio.lowlevel.reschedule(task)
        elif self.splice is not None:
            self.splice.on_receivable()

    def wake_sender(self) -> None:
        """Sending goes on, or has failed."""
        task = self._sender
        if task is not None:
            self._sender = None
            trio.lowlevel.reschedule(task)
        elif self.splice is not None:
            self.splice.on_sendable()

    # ---- those who watch ----

    def watch(self, look: Callable[[], object]) -> None:
        """Call `look` each time that the stream may have come to its end."""
        if self._watchers is None:
            self._watchers = set()
        self._watchers.add(look)

    def unwatch(self, look: Callable[[], object]) -> None:
        """Do not call it any more."""
        if self._watchers is not None:
            self._watchers.discard(look)

    def _look(self) -> None:
        for look in tuple(self._watchers or ()):
            look()

    # ---- the handle ----

    def sent(self) -> None:
        self.unsent = False
        self.wake_sender()

    def writable(self) -> None:
        if not self.unsent:  # otherwise the scheduler has its data in line again, and nothing is done yet
            self.wake_sender()

    def readable(self) -> None:
        task = self._receiver  # as wake_receiver does, one call less: most messages come this way
        if task is not None:
            self._receiver = None
            trio.lowlevel.reschedule(task)
        elif self.splice is not None:
            self.splice.on_receivable()
        if self._watchers:
            self._look()

    def arrived(self) -> None:
        assert self.splice is not None
        self.splice.on_arrived()
        if self._watchers:
            self._look()

    def over(self) -> None:
        self.wake_receiver()
        self.wake_sender()
        self._look()


def waiting_of(state: StreamState) -> Waiting:
    """Who waits on a stream that has been taken."""
    assert isinstance(state.handle, Waiting)
    return state.handle


class Wakings:
    """Wakes those who wait for streams that have ended. A peer can end a thousand streams with one frame, and their
    tasks would all run in the next pass of the scheduler: so many are woken in turns, by a task.

    The core may have forgotten the streams, so whoever is cancelled while waking leaves the others here.
    """

    __slots__ = ("_waiting", "spawn")

    def __init__(self) -> None:
        self._waiting: deque[StreamState] = deque()
        self.spawn: Callable[[Callable[[], Awaitable[None]]], None] | None = None
        """Starts a task of the session; None if it is not running."""

    def wake(self, ended: list[StreamState]) -> None:
        """Wake for these, now if they are few."""
        if len(ended) <= WOKEN_A_TURN:
            for state in ended:
                _tell(state)
        elif self.spawn is not None:
            self.add(ended)
            self.spawn(self.run)

    def add(self, ended: Iterable[StreamState]) -> None:
        """Wake for these as well, with the next `run`."""
        self._waiting += ended

    async def run(self) -> None:
        """Wake for all that have come together."""
        number = 0
        while self._waiting:
            _tell(self._waiting.popleft())
            number += 1
            if number % WOKEN_A_TURN == 0:
                await trio.lowlevel.checkpoint()


def _tell(state: StreamState) -> None:
    if state.handle is not None:
        state.handle.over()

"""The tasks that wait on one stream, and the calls from the stream's state that wake them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from muxpy.proto import StreamState

__all__ = ["Spliced", "Waiting", "Wakings", "waiting_of"]

WOKEN_A_TURN: Final = 64
"""Tasks that are woken together because their streams have ended; each takes tens of microseconds to end."""


class Spliced(Protocol):
    """A splice of the stream, which is called where a task would be woken."""

    def on_arrived(self) -> None:
        """There is new data to pass on."""

    def on_receivable(self) -> None:
        """The stream has received something, or has ended."""

    def on_sendable(self) -> None:
        """Data in line was sent, or cannot be sent any more."""


class Waiting:
    """The handle of one stream (`proto.Handle`): at most one task waits in each direction. Each has a field and not a
    trio.Event, since idle streams must cost little; for the same reason `waiting_of` makes this when a task first
    waits. It does not refer to the stream: with references both ways, each stream would be left to the cycle
    collector."""

    __slots__ = ("_receiver", "_sender", "_watchers", "splice", "unsent")

    def __init__(self) -> None:
        self.unsent = False  # some of the sender's data has not been handed to the transport yet
        self.splice: Spliced | None = None
        self._sender: trio.lowlevel.Task | None = None
        self._receiver: trio.lowlevel.Task | None = None
        self._watchers: set[Callable[[], bool]] | None = None  # made only when somebody watches

    # ---- the tasks ----

    async def as_sender(self) -> None:
        """Wait until the submitted data is sent, the window is open, or the stream is over."""
        self._sender = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._sender_gives_up)

    def _sender_gives_up(self, _: object) -> trio.lowlevel.Abort:
        self._sender = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def as_receiver(self) -> None:
        """Wait until something was received, or the stream is over."""
        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._receiver_gives_up)

    def _receiver_gives_up(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake_receiver(self) -> None:
        """There is something to receive."""
        task = self._receiver
        if task is not None:
            self._receiver = None
            trio.lowlevel.reschedule(task)
        elif self.splice is not None:
            self.splice.on_receivable()

    def wake_sender(self) -> None:
        """Sending can go on, or has failed."""
        task = self._sender
        if task is not None:
            self._sender = None
            trio.lowlevel.reschedule(task)
        elif self.splice is not None:
            self.splice.on_sendable()

    # ---- those who watch ----

    def watch(self, look: Callable[[], bool]) -> None:
        """Call `look` each time that the stream may have come to its end, until it returns True."""
        if self._watchers is None:
            self._watchers = set()
        self._watchers.add(look)

    def unwatch(self, look: Callable[[], bool]) -> None:
        """Do not call it any more."""
        if self._watchers is not None:
            self._watchers.discard(look)

    def _look(self) -> None:
        for look in tuple(self._watchers or ()):
            if look():
                self.unwatch(look)

    # ---- the handle ----

    def sent(self) -> None:
        self.unsent = False
        self.wake_sender()

    def writable(self) -> None:
        if not self.unsent:  # otherwise the scheduler has the data in line again, and the sender must still wait
            self.wake_sender()

    def readable(self) -> None:
        task = self._receiver  # `wake_receiver` with one call less: most messages come this way
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

    def ended(self) -> None:
        if self._receiver is not None or self.splice is not None:
            self.wake_receiver()
        if self._sender is not None or self.splice is not None:
            self.wake_sender()
        if self._watchers:
            self._look()


def waiting_of(state: StreamState) -> Waiting:
    """Who waits on a stream that has been accepted or opened here."""
    waiting = state.handle
    if waiting is None:
        waiting = state.handle = Waiting()
    assert isinstance(waiting, Waiting)
    return waiting


class Wakings:
    """Wakes the tasks that wait on streams that have ended. A peer can end a thousand streams with one frame, and all
    their tasks would run in the next pass of the scheduler. So a task wakes many of them in turns.

    The core may have forgotten the streams, so if that task is cancelled, the rest stays here for the next `run`.
    """

    __slots__ = ("_waiting", "spawn")

    def __init__(self) -> None:
        self._waiting: deque[StreamState] | None = None
        self.spawn: Callable[[Callable[[], Awaitable[None]]], None] | None = None
        """Starts a task of the session; None if it is not running."""

    def wake(self, ended: list[StreamState]) -> None:
        """Wake the tasks of these streams: now if they are few, otherwise in turns."""
        if len(ended) <= WOKEN_A_TURN:
            for state in ended:
                _tell(state)
        elif self.spawn is not None:
            self.add(ended)
            self.spawn(self.run)

    def add(self, ended: Iterable[StreamState]) -> None:
        """Wake the tasks of these streams in the next `run`."""
        self._waiting = self._waiting or deque()
        self._waiting += ended

    async def run(self) -> None:
        """Wake the tasks of all streams that were added, in turns."""
        number = 0
        while self._waiting:
            _tell(self._waiting.popleft())
            number += 1
            if number % WOKEN_A_TURN == 0:
                await trio.lowlevel.checkpoint()


def _tell(state: StreamState) -> None:
    if state.handle is not None:
        state.handle.ended()

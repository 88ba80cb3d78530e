"""The reader and the writer: the only code that touches the transport.

The reader waits for the transport and for nothing else. The writer writes one batch at a time. A task with
something to send may write its batch itself, if no write is under way: that saves waking the writer task, a
third of the round trip of a small request. If many tasks were woken by the last read they line up instead, and
the writer task sends what they all have with one system call.
"""

from collections.abc import Callable
from typing import Final, Protocol

import trio

from ._transport import Transport
from .proto import Batch, Changes, Connection, StreamState

__all__ = ["Reader", "Writer"]

BATCH_SIZE: Final = 128 * 1024
"""Bytes of data in one batch: enough to make a system call cheap, little enough that a small message which comes
next does not wait long."""

TRANSPORT_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Dispatch(Protocol):
    """What the reader tells the session."""

    def on_changes(self, changes: Changes) -> None:
        """Bytes were received."""

    def on_transport_output(self) -> None:
        """The transport has something of its own to write."""

    def on_eof(self, error: BaseException | None) -> None:
        """The transport has ended, in order or with an error."""


class Reader:
    """Receives, feeds the protocol, and hands on what changed."""

    def __init__(self, transport: Transport, core: Connection, dispatch: Dispatch) -> None:
        self._transport = transport
        self._core = core
        self._dispatch = dispatch
        self.last_received = trio.current_time()
        self.bytes_received = 0
        self.ended = trio.Event()

    async def run(self) -> None:
        """Read until the transport ends."""
        try:
            while data := await self._transport.receive():
                now = trio.current_time()
                self.last_received = now
                self.bytes_received += len(data)
                self._dispatch.on_changes(self._core.receive(data, now))
                if self._transport.has_output:
                    self._dispatch.on_transport_output()
                del data  # a view of a buffer that the next read reuses
        except TRANSPORT_ERRORS as error:
            self._dispatch.on_eof(error)
        else:
            self._dispatch.on_eof(None)
        self.ended.set()


class Writer:
    """Writes batches, one at a time, from whichever task gets there first."""

    def __init__(self, transport: Transport, core: Connection, on_sent: Callable[[StreamState], None]) -> None:
        self._transport = transport
        self._core = core
        self._on_sent = on_sent
        self._batch: Batch | None = None  # begun and not finished
        self._parked: trio.lowlevel.Task | None = None
        self._progress = trio.lowlevel.ParkingLot()  # who waits for batches to be written
        self._crowded = False  # several tasks have something to send: let them line up
        self._last_pusher: StreamState | None = None
        self.error: BaseException | None = None
        self.bytes_sent = 0

    def expect(self, woken: int) -> None:
        """The reader has woken so many tasks: if more than one, let them line up before anything is written."""
        self._crowded = woken > 1
        self._last_pusher = None

    def push(self, stream: StreamState) -> None:
        """`stream` has something to send: write it now if that is cheap, else have the writer task do it."""
        if self._last_pusher is not None and self._last_pusher is not stream:
            self._crowded = True
        self._last_pusher = stream
        if self._batch is None and not self._crowded and self.error is None:
            try:
                self._flush()
            except TRANSPORT_ERRORS as error:
                self._fail(error)
        if self._batch is not None or self._core.has_output:
            self.poke()

    def poke(self) -> None:
        """Something was queued: have the writer task write it, together with what else comes up this turn."""
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    def withdraw(self, stream: StreamState) -> None:
        """A sender was cancelled: what is not written of its data must not be read from its buffer any more."""
        self._core.withdraw(stream)
        if self._batch is not None:
            self._batch.own()

    async def run(self) -> None:
        """Write whatever comes, until cancelled or until the transport takes no more."""
        try:
            while self.error is None:
                while self._begin():
                    await self._finish()
                    if self._has_output:
                        # Those whose data went out line up again before the next batch is chosen.
                        await trio.lowlevel.checkpoint()
                self._crowded = False
                self._last_pusher = None
                self._progress.unpark_all()
                await self._park()
        except TRANSPORT_ERRORS as error:
            self._fail(error)

    async def drained(self) -> None:
        """Wait until there is nothing to write, or no way to write it."""
        while self.error is None and (self._batch is not None or self._has_output):
            await self.turn()

    async def turn(self) -> None:
        """Wait until one more batch was written."""
        self.poke()
        await self._progress.park()

    def wake_waiters(self) -> None:
        """The session ends: those who wait for the writer should look again."""
        self._progress.unpark_all()

    @property
    def _has_output(self) -> bool:
        return self._core.has_output or self._transport.has_output

    def _begin(self) -> Batch | None:
        if self._batch is None:
            self._batch = self._core.next_batch(BATCH_SIZE)
            if self._batch is not None:
                self.bytes_sent += sum(map(len, self._batch.chunks))
            elif self._transport.has_output:
                self._batch = Batch([], [], 0)
        return self._batch

    def _flush(self) -> None:
        batch = self._begin()
        if batch is not None and self._transport.try_send(batch):
            self._complete(batch)

    async def _finish(self) -> None:
        batch = self._batch
        assert batch is not None
        await self._transport.send(batch)
        self._complete(batch)

    def _complete(self, batch: Batch) -> None:
        self._batch = None
        for stream in batch.done:
            self._on_sent(stream)
        if self._progress:
            self._progress.unpark_all()

    def _fail(self, error: BaseException) -> None:
        # The reader finds out why: what the peer said last may still be there to read.
        if self.error is None:
            self.error = error
        self._progress.unpark_all()
        self.poke()

    async def _park(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

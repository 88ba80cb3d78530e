"""The writer: one batch at a time. When, and how much, is `_pacing`'s to say.

A task with something to send may write it itself, if no write is under way: that saves waking the writer task, a third
of the round trip of a small request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy.proto import Batch

from ._pacing import PATIENCE, SMALL, Pacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import Sending, StreamState
    from muxpy.trace import Tap
    from muxpy.transport import Transport

__all__ = ["TRANSPORT_ERRORS", "Writer"]

TRANSPORT_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Writer:
    """Writes batches, from whichever task gets there first."""

    def __init__(self, transport: Transport, sending: Sending, clock: Callable[[], float], tap: Tap | None) -> None:
        self.pacing = Pacing(clock)
        self.error: BaseException | None = None
        self.bytes_sent = 0
        self._transport = transport
        self._sending = sending
        self._clock = clock
        self._tap = tap
        self._batch: Batch | None = None  # begun and not finished
        self._parked: trio.lowlevel.Task | None = None
        self._progress = trio.lowlevel.ParkingLot()  # who waits for batches to be written

    # ---- for those who have something to send ----

    def send_small(self, stream: StreamState, data: bytes | bytearray) -> bool:
        """Frame a copy of a small message, and have it written soon. False if it must stand in line: `send` it.

        For the price of the copy the sender need not be woken when it was written: a quarter of a small message.
        """
        if len(data) > SMALL or self._batch is not None or self.error is not None:
            return False
        if not self._sending.submit_small(stream, data):
            return False
        pacing = self.pacing
        if (pacing.alone and not pacing.corked) or pacing.small_goes_now(self._sending.outbox.small_frames):
            pacing.alone = False
            self._flush()
        elif not pacing.corked:
            self.poke()
        return self.error is None  # otherwise it waits, as one in line, to be told how the session ends

    def send(self, stream: StreamState, data: memoryview) -> None:
        """Stand `data` in line. If nobody else does, write what goes without waiting: it is worth a system call."""
        contended = self._batch is not None or self._sending.scheduler.waiting or self.error is not None
        goes_now = self.pacing.large_goes_now(stream.priority) and not contended
        self._sending.submit(stream, data)
        if goes_now:
            self._flush()
        else:
            self.poke()

    def withdraw(self, stream: StreamState) -> None:
        """A sender was cancelled: what is not written of its data must not be read from its buffer any more."""
        self._sending.withdraw(stream)
        if self._batch is not None:
            self._batch.own()

    def update_window(self) -> None:
        """A window update is to be written: now, since the peer may wait for it, unless others do the same."""
        if self._batch is None and self.pacing.alone and self.error is None:
            self._flush()
        else:
            self.poke()

    def cork(self) -> None:
        """Let small messages wait for `uncork`: more come in the same moment."""
        self.pacing.corked = True

    def uncork(self) -> None:
        """Write what has come together."""
        self.pacing.corked = False
        if self._batch is None and self.error is None and self._sending.has_output:
            try:
                self._flush()
            except Exception as error:  # a bug: it ends this session, and not everything that the poller serves
                self._fail(error)

    def poke(self) -> None:
        """Something was queued: have the writer task write it, together with what else comes up this turn."""
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    # ---- for those who wait ----

    async def drained(self) -> None:
        """Wait until there is nothing to write, or no way to write it."""
        while self.error is None and (self._batch is not None or self._has_output):
            await self.progress()

    async def progress(self) -> None:
        """Wait until one more batch was written."""
        self.poke()
        await self._progress.park()

    def wake_waiters(self) -> None:
        """The session ends: those who wait for the writer should look again."""
        self._progress.unpark_all()

    # ---- the task ----

    async def run(self) -> None:
        """Write whatever comes, until cancelled or until the transport takes no more."""
        try:
            while self.error is None:
                await self._gather()
                while self.error is None and (batch := self._begin()):
                    await self._finish(batch)
                    if self._has_output:
                        await self._let_line_up(batch)
                self.pacing.caught_up()
                self._progress.unpark_all()
                if self.error is None:
                    await self._rest()
        except TRANSPORT_ERRORS as error:
            self._fail(error)

    async def _let_line_up(self, written: Batch) -> None:
        """Those whose data went out line up again before the next batch is chosen, or they would lose their turn."""
        sends = self.pacing.sends
        await trio.lowlevel.checkpoint()
        if written.done and sends == self.pacing.sends:
            # Trio shuffles the tasks of a pass: this one came first, and theirs are done with the next.
            await trio.lowlevel.checkpoint()

    async def _gather(self) -> None:
        """Let a stream of small messages come together as long as more come, until there are enough, and not for
        long."""
        frames = 0
        until = self._clock() + PATIENCE
        outbox = self._sending.outbox
        while (
            self.pacing.streaming
            and frames != outbox.small_frames  # fewer: a sender has written what was enough, and more came
            and self._batch is None
            and self._clock() < until
        ):
            frames = outbox.small_frames
            # Two turns, since Trio shuffles the tasks of a pass: each other task had one between.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    async def _finish(self, batch: Batch) -> None:
        size, begun = batch.size, self._clock()
        await self._transport.send(batch)
        self.pacing.wrote_in(size, self._clock() - begun)
        self._complete(batch)

    async def _rest(self) -> None:
        """Until there is something to write, or a crumb of window has held it back for long enough."""
        due = self._sending.crumbs_due
        if due is None:
            await self._park()
        else:
            with trio.move_on_at(due):  # then the next batch has it
                await self._park()

    async def _park(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    # ---- one batch ----

    @property
    def _has_output(self) -> bool:
        return self._sending.has_output or self._transport.has_output

    def _begin(self) -> Batch | None:
        if self._batch is None:
            self._batch = batch = self._sending.next_batch(*self.pacing.portion)
            if batch is not None:
                self.bytes_sent += batch.size
                if self._tap is not None:
                    self._tap.sent(batch)
            elif self._transport.has_output:
                self._batch = Batch([], [], 0)
        return self._batch

    def _flush(self) -> None:
        """Write what there is as far as that goes without waiting; the writer task does the rest."""
        try:
            batch = self._begin()
            if batch is not None and self._transport.try_send(batch):
                self._complete(batch)
        except TRANSPORT_ERRORS as error:
            self._fail(error)
        if self._batch is not None or self._sending.needs_writer():
            self.poke()

    def _complete(self, batch: Batch) -> None:
        self._batch = None
        self.pacing.written = self._clock()
        for stream in batch.done:
            if stream.handle is not None:
                stream.handle.sent()
        if self._progress:
            self._progress.unpark_all()

    def _fail(self, error: BaseException) -> None:
        # The reader finds out why: what the peer said last may still be there to read.
        if self.error is None:
            self.error = error.with_traceback(None)  # whose frames hold this writer
        self._progress.unpark_all()
        self.poke()

"""The writer: it writes one batch at a time. `_pacing` decides when to write, and how much.

A task with something to send may write it itself, if no write is under way. That saves waking the writer task, which
would be a third of the round trip of a small request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy.proto import Batch
from muxpy.transport import TRANSPORT_ERRORS

from ._pacing import ENOUGH_FRAMES, PATIENCE, SMALL, Pacing
from ._parking import Parking

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.proto import Sending, StreamState
    from muxpy.trace import Tap
    from muxpy.transport import Transport

__all__ = ["Writer"]


class Writer:
    """Writes batches, in the writer task or in a sender's."""

    def __init__(self, transport: Transport, sending: Sending, clock: Callable[[], float], tap: Tap | None) -> None:
        self.pacing = Pacing(clock)
        self.error: BaseException | None = None
        self.bytes_sent = 0
        self._transport = transport
        self._sending = sending
        self._clock = clock
        self._tap = tap
        self._batch: Batch | None = None  # the batch that is being written
        self._parked = Parking()
        self._start: Callable[[], None] | None = None
        self._resting = False  # the task is to end if there is nothing to do
        # Something was queued: have the writer task write it, together with anything else from this pass. Bound once,
        # so that each message passes through one function less.
        self.poke = self._parked.wake
        self._progress: trio.Event | None = None  # when a batch has been written, if a task waits for that

    # ---- for those who have something to send ----

    def send_small(self, stream: StreamState, data: bytes | bytearray, end: bool = False) -> bool:
        """Frame a copy of a small message, and have it written soon. Returns False if the message must stand in line:
        then `send` it. With `end`, the direction ends with it.

        Because of the copy, the sender need not be woken when the message is written, which would be a quarter of its
        cost.
        """
        if len(data) > SMALL or self._batch is not None or self.error is not None:
            return False
        sending, pacing = self._sending, self.pacing
        if pacing.alone and not pacing.corked and (frame := sending.small_alone(stream, data, end)) is not None:
            pacing.alone = False
            self._write(frame)
            return self.error is None
        if not sending.submit_small(stream, data, end):
            return False
        if pacing.corked and sending.outbox.small_frames < ENOUGH_FRAMES:  # `uncork` follows
            return True
        self.small_framed()
        return self.error is None  # after an error it stands in line, and waits to learn how the session ends

    def small_framed(self) -> None:
        """A small message was framed: write it now, or have it written soon together with others. See `_pacing`."""
        pacing = self.pacing
        if self._batch is not None or self.error is not None:
            return  # the writer task goes on with all that there is
        if (pacing.alone and not pacing.corked) or pacing.small_goes_now(self._sending.outbox.small_frames):
            pacing.alone = False
            self._flush()
        elif not pacing.corked:
            self.poke()

    def send(self, stream: StreamState, data: memoryview, *, end: bool = False) -> None:
        """Put `data` in line. If nobody else is in line, or all of the line may go together, write as much as goes
        without waiting: that much data is worth a system call. With `end`, the direction ends with the last byte."""
        others = self._sending.scheduler.waiting and self.pacing.portion.exact
        contended = self._batch is not None or others or self.error is not None
        may_go = self.pacing.large_goes_now(stream.priority)  # asked in any case, since it notes who sends
        self._sending.submit(stream, data, end=end)
        if may_go and not contended:
            self._flush()
        else:
            self.poke()

    def withdraw(self, stream: StreamState) -> None:
        """A sender was cancelled: the rest of its data must not be read from its buffer any more, which it may change
        immediately."""
        self._sending.withdraw(stream)
        if self._batch is not None:
            self._batch.own()

    def update_window(self) -> None:
        """A window update was queued: write it now, since the peer may wait for it, unless other tasks were woken."""
        if self._batch is None and self.pacing.alone and self.error is None:
            self._flush()
        else:
            self.poke()

    def cork(self) -> None:
        """Let small messages wait for `uncork`: more of them come in the same moment."""
        self.pacing.corked = True

    def uncork(self) -> None:
        """Write what has come together."""
        self.pacing.corked = False
        if self._batch is None and self.error is None and self._sending.has_output:
            try:
                self._flush()
            except Exception as error:  # a bug: it must end this session, and not the poller
                self._fail(error)

    # ---- for those who wait ----

    async def drained(self) -> None:
        """Wait until there is nothing to write, or no way to write it."""
        while self.error is None and (self._batch is not None or self._has_output):
            await self.next_written()

    async def next_written(self) -> None:
        """Wait until one more batch has been written."""
        self.poke()
        if self._progress is None:
            self._progress = trio.Event()
        await self._progress.wait()

    def wake_waiters(self) -> None:
        """Tasks that wait for the writer must look again: a batch was written, or the session ends."""
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    # ---- the task ----

    def start(self, start: Callable[[], None]) -> None:
        """Call `start` now, and whenever there is something to do for a task that calls `run`, and no such task."""
        self._start = start
        start()

    def drop_references(self) -> None:
        """The session has ended: break the reference cycle between it and the writer."""
        self._start = self._parked.start = None

    def rest(self) -> None:
        """Nothing was written for a while: let the task end until there is something to write again."""
        if not self._parked.empty:
            self._resting = True
            self.poke()

    async def run(self) -> None:
        """Write all that comes, until cancelled, or the transport fails, or the task may rest."""
        try:
            while self.error is None:
                await self._gather()
                while self.error is None and (batch := self._next()):
                    await self._finish(batch)
                    if self._has_output:
                        await self._let_line_up(batch)
                self.pacing.caught_up()
                self.wake_waiters()
                resting, self._resting = self._resting, False
                if resting and self._sending.crumbs_due is None:
                    self._parked.start = self._start
                    break
                if self.error is None:
                    await self._sleep()
        except TRANSPORT_ERRORS as error:
            self._fail(error)

    async def _let_line_up(self, written: Batch) -> None:
        """Let the senders whose data was written line up again before the next batch is chosen. Otherwise they would
        lose the rest of their turns: see `proto._scheduler`."""
        sends = self.pacing.sends
        await trio.lowlevel.checkpoint()
        if written.done and sends == self.pacing.sends and self.pacing.portion.exact:
            # Trio shuffles the tasks of a pass, and this task came first. After one more pass they have run.
            await trio.lowlevel.checkpoint()

    async def _gather(self) -> None:
        """Let a stream of small messages come together (Nagle's idea) as long as more come, until there are enough, and
        for PATIENCE at most."""
        frames = 0
        until = self._clock() + PATIENCE
        outbox = self._sending.outbox
        while (
            self.pacing.streaming
            and frames != outbox.small_frames  # it is less after a sender has written enough messages, and more came
            and self._batch is None
            and self._clock() < until
        ):
            frames = outbox.small_frames
            # Two passes, since Trio shuffles the tasks of a pass: so each other task has run in between.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    async def _finish(self, batch: Batch) -> None:
        size, begun = batch.size, self._clock()
        await self._transport.send(batch)
        self.pacing.wrote_in(size, self._clock() - begun)
        self._complete(batch)

    async def _sleep(self) -> None:
        """Sleep until there is something to write, or a crumb of window has held data back for long enough."""
        due = self._sending.crumbs_due
        if due is None:
            await self._parked.park()
        else:
            with trio.move_on_at(due):  # then the data goes into the next batch
                await self._parked.park()

    # ---- one batch ----

    @property
    def _has_output(self) -> bool:
        return self._sending.has_output or self._transport.has_output

    def _next(self) -> Batch | None:
        """The batch that is being written, or a new one; None if there is nothing to write."""
        if self._batch is None:
            batch = self._sending.next_batch(*self.pacing.portion)
            if batch is not None:
                self._begin(batch)
            elif self._transport.has_output:
                self._batch = Batch([], [], 0)
        return self._batch

    def _begin(self, batch: Batch) -> None:
        self._batch = batch
        self.bytes_sent += batch.size
        if self._tap is not None:
            self._tap.sent(batch)

    def _write(self, frame: bytes) -> None:
        """Write a frame beside which nothing waits. It becomes a batch only if it does not go as a whole."""
        size, written = len(frame), 0
        if self._tap is None:
            try:
                written = self._transport.try_write(frame)
            except TRANSPORT_ERRORS as error:
                self._fail(error)
                return
        if written == size:
            self.bytes_sent += size
            self.pacing.written = self._clock()
            if self._progress is not None:
                self.wake_waiters()
            return
        batch = Batch([frame], [], size)
        self._begin(batch)
        batch.advance(written)
        self._try(batch)

    def _flush(self) -> None:
        """Write as much as goes without waiting; the writer task writes the rest."""
        batch = self._next()
        if batch is not None:
            self._try(batch)
        if self._sending.needs_writer():
            self.poke()

    def _try(self, batch: Batch) -> None:
        try:
            if self._transport.try_send(batch):
                self._complete(batch)
            else:
                self.poke()
        except TRANSPORT_ERRORS as error:
            self._fail(error)

    def _complete(self, batch: Batch) -> None:
        self._batch = None
        self.pacing.written = self._clock()
        for stream in batch.done:
            if stream.handle is not None:
                stream.handle.sent()
        if self._progress is not None:
            self.wake_waiters()

    def _fail(self, error: BaseException) -> None:
        # The reader finds out why: the peer's last words may still be there to read.
        if self.error is None:
            self.error = error.with_traceback(None)  # its frames would keep this writer alive
        self.wake_waiters()
        self.poke()

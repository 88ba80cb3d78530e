"""The reader and the writer: the only code that touches the transport.

The reader waits for the transport and for nothing else. The writer writes one batch at a time. A task with
something to send may write it itself, if no write is under way: that saves waking the writer task, a third of the
round trip of a small request. If many tasks were woken by the last read, small messages come together instead, and
one system call sends what they all have.
"""

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

import trio

from ._codes import ProtocolError
from ._trace import Tap
from ._transport import Transport
from .frame import Buffer
from .proto import Batch, Changes, Connection, StreamState

__all__ = ["BATCH_SIZE", "Reader", "Writer"]

BATCH_SIZE: Final = 128 * 1024
"""Bytes of data in one batch: enough to make a system call cheap, little enough that a small message which comes
next does not wait long."""

TURN: Final = 512
"""Units of work (see `proto._limits`) that the reader acts on before others get their turn: so many frames, or fewer of
those that wake or start tasks. They cost some microseconds each, with what the woken tasks do: so a turn is a
millisecond or three, and the messages of a hundred streams still come in one."""

PARTY_TURN: Final = TURN // 4
"""The same for a session that belongs to a group: there are others, whose echo waits for its turns."""

SHARED_TURN: Final = TURN // 16
"""The same while other sessions of the group wait for their turn. A group that keeps the processor busy has many turns,
and each is what everybody else waits for."""

LEAST_READ: Final = 4096
"""Bytes that are read at once in any case: less would cost more in system calls than it gives the others."""

ENOUGH_FRAMES: Final = 32
"""Small messages that are written without waiting for more: a system call among so many is cheap already, and the
peer can begin with them while the rest is being made."""

FAST: Final = 1e-9
"""Seconds a byte: 1 GB/s. What leaves faster goes in larger batches and longer turns: the wait for them is as short, it
takes fewer turns of the scheduler, and the receiver gets four frames of a stream in a row, which wakes its reader once
and not four times."""

LONG_TURN: Final = 4
LARGE_BATCH: Final = 4 * BATCH_SIZE

WEIGHED: Final = 64
"""Sends after one of another priority that leave it to the scheduler who goes first."""

PATIENCE: Final = 0.001
"""Seconds that a small message may wait for others. A program that works between its messages makes the turns of the
scheduler long, and counting turns alone would let them pile up."""

SMALL: Final = 4096
"""Bytes of a message that is copied and framed at once: copying them costs less than waking its sender later."""

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

    def __init__(
        self,
        transport: Transport,
        core: Connection,
        dispatch: Dispatch,
        clock: Callable[[], float],
        tap: Tap | None = None,
    ) -> None:
        self._transport = transport
        self._core = core
        self._dispatch = dispatch
        self._clock = clock
        self._tap = tap
        self._rest: Buffer = b""  # of the last read, for the next turns
        self.last_received = clock()
        self.bytes_received = 0
        self.ended = trio.Event()

    async def run(self) -> None:
        """Read until the transport ends. May be cancelled and called again: nothing is lost."""
        transport = self._transport
        try:
            if self._rest:
                await self._take_rest()
            while data := await transport.receive():
                self.last_received = self._clock()
                size = len(data)
                self.bytes_received += size
                rest = self._take(data)
                del data  # a view of a buffer that the next read reuses
                if rest or transport.read_limit < transport.read_size:
                    transport.read_limit = self._share(size, size - len(rest))
                    self._rest = bytes(rest)  # a copy: others read into the buffer, too
                    await self._take_rest()
                if transport.has_output:
                    self._dispatch.on_transport_output()
        except TRANSPORT_ERRORS as error:
            self._dispatch.on_eof(error.with_traceback(None))  # whose frames hold this reader
        except ProtocolError as error:  # below the frames
            self._core.fail(error)
            self._dispatch.on_changes(Changes())
        else:
            self._dispatch.on_eof(None)
        self.ended.set()

    def let_go(self) -> None:
        """It has ended, and nobody need be told anything any more."""
        del self._dispatch

    def _take(self, data: Buffer) -> Buffer:
        """Act on as much as one turn has room for; what is left."""
        changes = self._core.receive(data, self._turn())
        rest = changes.rest
        if self._tap is not None:
            self._tap.received(data[: len(data) - len(rest)])
        self._dispatch.on_changes(changes)
        return rest

    def _turn(self) -> int:
        turns = self._transport.turns
        if turns is None:
            return TURN
        return SHARED_TURN if turns.contended else PARTY_TURN

    async def _take_rest(self) -> None:
        """Go on in turns with a read that was more than one turn has room for."""
        await trio.lowlevel.checkpoint()  # in any case: the writer sends the answers before they are counted as unread
        while self._rest:
            await self._transport.take_turn()
            self._rest = self._take(self._rest)
            await trio.lowlevel.checkpoint()

    def _share(self, size: int, taken: int) -> int:
        """How much to read at once from now on: less where that was more than a turn, more again where it was not."""
        transport = self._transport
        if taken < size:
            return max(taken, LEAST_READ)
        return min(2 * transport.read_limit, transport.read_size)


class Writer:
    """Writes batches, one at a time, from whichever task gets there first."""

    def __init__(
        self,
        transport: Transport,
        core: Connection,
        on_sent: Callable[[StreamState], None],
        clock: Callable[[], float],
        tap: Tap | None = None,
    ) -> None:
        self._transport = transport
        self._core = core
        self._on_sent = on_sent
        self._clock = clock
        self._tap = tap
        self._batch: Batch | None = None  # begun and not finished
        self._parked: trio.lowlevel.Task | None = None
        self._progress = trio.lowlevel.ParkingLot()  # who waits for batches to be written
        self._alone = True  # the last read woke one task at most, and nothing was sent since
        self._sends = 0  # calls of send
        self._last_priority = 0
        self._weigh_until = 0  # sends
        self._written = -inf  # when the last batch was
        self._pace = 2 * FAST  # seconds a byte, of the last batches
        self._seen = 0  # reads up to the last batch of the writer task
        self._held = False  # more is about to come
        self.reads = 0
        self.error: BaseException | None = None
        self.bytes_sent = 0

    def expect(self, woken: int) -> None:
        """The reader has woken so many tasks: if more than one, let them line up before anything is written."""
        self._alone = woken <= 1
        self.reads += 1

    def send_small(self, stream: StreamState, data: bytes | bytearray) -> bool:
        """Frame a copy of a small message, and have it written soon. False if it must stand in line: `send` it.

        For the price of the copy the sender need not be woken when it was written: a quarter of a small message.
        """
        if len(data) > SMALL or self._batch is not None or self.error is not None:
            return False
        if not self._core.submit_small(stream, data):
            return False
        if self._held and self._core.small_frames < ENOUGH_FRAMES:
            pass
        elif self._alone or self._core.small_frames >= ENOUGH_FRAMES or self._clock() > self._written + PATIENCE:
            self._alone = False
            self._flush()
        else:
            self.poke()
        return self.error is None  # else it waits, as one in line, to be told how the session ends

    def send(self, stream: StreamState, data: memoryview) -> None:
        """Stand `data` in line. If nobody else does, write what goes without waiting: it is worth a system call.

        While senders of different priorities take turns, all stand in line: their turns on the processor are equal, and
        only the scheduler knows weights.
        """
        if stream.priority != self._last_priority:
            self._last_priority = stream.priority
            self._weigh_until = self._sends + WEIGHED
        uncontended = self._batch is None and not self._core.waiting_to_send and self.error is None
        writes_itself = uncontended and not self._weighing
        self._core.submit(stream, data)
        self._sends += 1
        if writes_itself:
            self._flush()
        else:
            self.poke()

    def hold(self) -> None:
        """Let small messages wait for `release`: more come at once."""
        self._held = True

    def release(self) -> None:
        """Write what has come together."""
        self._held = False
        if self._batch is None and self.error is None and self._core.has_output:
            try:
                self._flush()
            except Exception as error:  # a bug: it ends this session, and not everything that the poller serves
                self._fail(error)

    def grant(self) -> None:
        """A window update is to be written: at once, since the peer may wait for it, unless others do the same."""
        if self._batch is None and self._alone and self.error is None:
            self._flush()
        else:
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
                await self._gather()
                while self.error is None and (batch := self._begin()):
                    await self._finish(batch)
                    if self._has_output:
                        await self._let_line_up(batch)
                self._seen = self.reads
                self._progress.unpark_all()
                if self.error is None:
                    await self._rest()
        except TRANSPORT_ERRORS as error:
            self._fail(error)

    async def _let_line_up(self, written: Batch) -> None:
        """Those whose data went out line up again before the next batch is chosen, or they would lose their turn."""
        sends = self._sends
        await trio.lowlevel.checkpoint()
        if written.done and sends == self._sends:
            # Trio shuffles the tasks of a pass: this one came first, and theirs are done with the next.
            await trio.lowlevel.checkpoint()

    async def _gather(self) -> None:
        """If nothing was received since the last batch, small messages are a stream of their own and not answers to
        anything: let them come together as long as more come, until there are enough, and not for long."""
        frames = 0
        until = self._clock() + PATIENCE
        while (
            self._seen == self.reads
            and frames != self._core.small_frames  # fewer: a sender has written what was enough, and more came
            and self._batch is None
            and self._clock() < until
        ):
            frames = self._core.small_frames
            # Two turns, since Trio shuffles the tasks of a pass: each other task had one between.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

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

    @property
    def _weighing(self) -> bool:
        """Whether senders of different priorities take turns."""
        return self._sends < self._weigh_until

    def _begin(self) -> Batch | None:
        if self._batch is None:
            self._batch = self._choose()
            if self._batch is not None:
                self.bytes_sent += self._batch.size
                if self._tap is not None:
                    self._tap.sent(self._batch)
            elif self._transport.has_output:
                self._batch = Batch([], [], 0)
        return self._batch

    def _choose(self) -> Batch | None:
        if self._pace >= FAST:
            return self._core.next_batch(BATCH_SIZE)
        if self._weighing:
            return self._core.next_batch(BATCH_SIZE, turn=LONG_TURN)
        # All of one weight: what stands in line may go at once, so that its senders write for themselves again.
        return self._core.next_batch(LARGE_BATCH, turn=LONG_TURN, exact=False)

    def _flush(self) -> None:
        """Write what there is as far as that goes without waiting; the writer task does the rest."""
        try:
            batch = self._begin()
            if batch is not None and self._transport.try_send(batch):
                self._complete(batch)
        except TRANSPORT_ERRORS as error:
            self._fail(error)
        if self._batch is not None or self._core.needs_writer:
            self.poke()

    async def _finish(self, batch: Batch) -> None:
        size, begun = batch.size, self._clock()
        await self._transport.send(batch)
        if size >= SMALL:  # or it says more about the scheduler than about the way
            self._pace += ((self._clock() - begun) / size - self._pace) / 16  # slowly: shares are taken in turns
        self._complete(batch)

    def _complete(self, batch: Batch) -> None:
        self._batch = None
        self._written = self._clock()
        for stream in batch.done:
            self._on_sent(stream)
        if self._progress:
            self._progress.unpark_all()

    def _fail(self, error: BaseException) -> None:
        # The reader finds out why: what the peer said last may still be there to read.
        if self.error is None:
            self.error = error.with_traceback(None)  # whose frames hold this writer
        self._progress.unpark_all()
        self.poke()

    async def _rest(self) -> None:
        """Until there is something to write, or a crumb of window has held it back for long enough."""
        due = self._core.crumbs_due
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

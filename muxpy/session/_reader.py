"""Reading: wait for the transport and for nothing else, feed the core, and hand on what changed. `_lead` says who does.

It takes turns by work. A read of 512 KiB takes a few milliseconds if it is bulk data, and over a hundred if it is the
smallest frames; and frames that wake or start tasks cost many times what they cost the reader. So `Core.receive` stops
after a limit of work and returns the bytes that are left. The reader copies these, since others use the buffer, and
goes on in its next turn. The next read is then only as large as one turn was; bulk is not affected. Turns count work,
and not time, so they are the same on every machine, and tests can count them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import trio

from muxpy._codes import ProtocolError
from muxpy.transport import TRANSPORT_ERRORS, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.frame import Buffer
    from muxpy.proto import Changes, Core, StreamState
    from muxpy.trace import Tap
    from muxpy.transport import Transport

__all__ = ["Dispatch", "Reader"]

WORK_A_TURN: Final = 512
"""Units of work (see `proto._limits`) that the reader does before other tasks get their turn: this many frames, or
fewer of those that wake or start tasks. A unit costs some microseconds, with the work of the woken tasks. So a turn
takes one to three milliseconds, and the messages of a hundred streams still fit into one."""

PARTY_WORK: Final = WORK_A_TURN // 4
"""The same for a session that belongs to a group: then there are other parties, which wait during its turns."""

SHARED_WORK: Final = WORK_A_TURN // 16
"""The same while other sessions of the group wait for their turn. A group that keeps the processor busy has many turns,
and everybody else waits during each of them."""

LEAST_READ: Final = 4096
"""The least bytes to ask for in one read: less would cost more in system calls than it gives to other tasks."""


class Dispatch(Protocol):
    """The calls of the reader to the session."""

    def on_changes(self, changes: Changes) -> int:
        """Bytes were received. Returns how many streams have something for their tasks."""

    def on_lone(self, stream: StreamState) -> None:
        """Data was received for this stream, and nothing else."""

    def on_transport_output(self) -> None:
        """The transport has something of its own to write."""

    def on_eof(self, error: BaseException | None) -> None:
        """The transport has ended, in order or with an error."""

    def on_over(self) -> None:
        """`Reader.over` is set."""


class Reader:
    """Receives for one task at a time, until the transport ends."""

    def __init__(
        self, transport: Transport, core: Core, dispatch: Dispatch, clock: Callable[[], float], tap: Tap | None
    ) -> None:
        self.last_received = clock()
        self.bytes_received = 0
        self.over = False
        """Whether the transport has ended: nothing more is read."""
        self.rest: Buffer | None = None
        """Bytes of the last read that are left for further turns. None: the next read may come."""
        self.lone = 0
        """How many reads in a row have had something for one task each."""
        self.first_frame: trio.CancelScope | None = None
        """The time limit of the reader task, until the first frame has come."""
        self._transport = transport
        self._core = core
        self._dispatch = dispatch
        self._clock = clock
        self._tap = tap

    async def read(self) -> bool:
        """Wait for bytes, and act on as many as one turn has room for; `rest` keeps the others. At the end of the
        transport, sets `over`. Returns False if the wait was interrupted. If cancelled, no byte is lost."""
        transport = self._transport
        try:
            data = await transport.receive()
            if data:
                self._on_data(data)
                return True
        except Interrupted:
            return False
        except TRANSPORT_ERRORS as error:
            self._end(error.with_traceback(None))  # its frames would keep this reader alive
        except ProtocolError as error:  # the peer broke a rule of the transport, below the frames
            self._core.fail(error)
            self._act_on(b"")
            self._note_end()
        else:
            self._end(None)
        return True

    def _on_data(self, data: Buffer) -> None:
        transport = self._transport
        now = self.last_received = self._clock()
        size = len(data)
        self.bytes_received += size
        # Where somebody waits for an answer, most often: it costs a third of anything else.
        if (stream := self._core.receive_lone(data, now)) is not None:
            if self._tap is not None:
                self._tap.received(data)
            self._dispatch.on_lone(stream)
            self.lone += 1
            rest: Buffer = b""
        else:
            rest = self._act_on(data)
        if rest or transport.read_limit < transport.read_size:
            transport.read_limit = self._next_size(size, size - len(rest))
            self.rest = bytes(rest)  # a copy: others read into the buffer too
        if transport.tls is not None and transport.has_output:
            self._dispatch.on_transport_output()

    def _end(self, error: BaseException | None) -> None:
        self._dispatch.on_eof(error)
        self._note_end()

    def _note_end(self) -> None:
        self.over = True
        self._dispatch.on_over()

    def drop_references(self) -> None:
        """The session has ended: break the reference cycle between it and the reader."""
        del self._dispatch

    def _act_on(self, data: Buffer) -> Buffer:
        """Act on as much as one turn has room for. Returns the bytes that are left."""
        turns = self._transport.turns
        most = WORK_A_TURN if turns is None else SHARED_WORK if turns.contended else PARTY_WORK
        changes = self._core.receive(data, most)
        rest = changes.rest
        if self._tap is not None:
            self._tap.received(data[: len(data) - len(rest)])
        if self.first_frame is not None and self._core.counters.frames_received:
            self.first_frame.deadline = inf
            self.first_frame = None
        woken = self._dispatch.on_changes(changes)
        if woken:
            self.lone = self.lone + 1 if woken == 1 else 0
        return rest

    async def act_on_rest(self) -> None:
        """Go on in further turns with a read that was more than one turn has room for."""
        await trio.lowlevel.checkpoint()  # in any case: the writer sends the answers before they count as unread
        while self.rest:
            await self._transport.take_turn()
            self.rest = self._act_on(self.rest)
            await trio.lowlevel.checkpoint()
        self.rest = None

    def _next_size(self, size: int, taken: int) -> int:
        """How many bytes to ask for next: fewer if this read was more than a turn, more again if it was not."""
        transport = self._transport
        if taken < size:
            return max(taken, LEAST_READ)
        return min(2 * transport.read_limit, transport.read_size)

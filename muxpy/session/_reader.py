"""The reader: waits for the transport and for nothing else, feeds the core, and hands on what changed.

It takes turns by work. A read of 256 KiB is two milliseconds of bulk and seventy of the smallest frames, and frames
that wake or start tasks cost many times what they cost the reader. So `Core.receive` stops after so much work and says
what it did not come to; the reader copies that, since others use the buffer, and goes on in its next turn. The next
read is as large as one turn was; bulk is not affected. Counting work, and not time, makes turns the same on every
machine, so tests can count them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from muxpy._codes import ProtocolError

from ._writer import TRANSPORT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy.frame import Buffer
    from muxpy.proto import Changes, Core
    from muxpy.trace import Tap
    from muxpy.transport import Transport

__all__ = ["Dispatch", "Reader"]

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
"""Bytes that are read together in any case: less would cost more in system calls than it gives the others."""


class Dispatch(Protocol):
    """What the reader tells the session."""

    def on_changes(self, changes: Changes) -> None:
        """Bytes were received."""

    def on_transport_output(self) -> None:
        """The transport has something of its own to write."""

    def on_eof(self, error: BaseException | None) -> None:
        """The transport has ended, in order or with an error."""


class Reader:
    """Receives, as long as the transport does."""

    def __init__(
        self, transport: Transport, core: Core, dispatch: Dispatch, clock: Callable[[], float], tap: Tap | None
    ) -> None:
        self.last_received = clock()
        self.bytes_received = 0
        self.ended = trio.Event()
        self._transport = transport
        self._core = core
        self._dispatch = dispatch
        self._clock = clock
        self._tap = tap
        self._rest: Buffer = b""  # of the last read, for the next turns

    async def run(self) -> None:
        """Read until the transport ends. May be cancelled and called again: nothing is lost."""
        transport = self._transport
        try:
            if self._rest:
                await self._act_on_rest()
            while data := await transport.receive():
                self.last_received = self._clock()
                size = len(data)
                self.bytes_received += size
                rest = self._act_on(data)
                del data  # a view of a buffer that the next read reuses
                if rest or transport.read_limit < transport.read_size:
                    transport.read_limit = self._next_size(size, size - len(rest))
                    self._rest = bytes(rest)  # a copy: others read into the buffer, too
                    await self._act_on_rest()
                if transport.tls is not None and transport.has_output:
                    self._dispatch.on_transport_output()
        except TRANSPORT_ERRORS as error:
            self._dispatch.on_eof(error.with_traceback(None))  # whose frames hold this reader
        except ProtocolError as error:  # below the frames
            self._core.fail(error)
            self._act_on(b"")
        else:
            self._dispatch.on_eof(None)
        self.ended.set()

    def let_go(self) -> None:
        """It has ended, and nobody need be told anything any more."""
        del self._dispatch

    def _act_on(self, data: Buffer) -> Buffer:
        """Act on as much as one turn has room for; what is left."""
        turns = self._transport.turns
        most = TURN if turns is None else SHARED_TURN if turns.contended else PARTY_TURN
        changes = self._core.receive(data, most)
        rest = changes.rest
        if self._tap is not None:
            self._tap.received(data[: len(data) - len(rest)])
        self._dispatch.on_changes(changes)
        return rest

    async def _act_on_rest(self) -> None:
        """Go on in turns with a read that was more than one turn has room for."""
        await trio.lowlevel.checkpoint()  # in any case: the writer sends the answers before they are counted as unread
        while self._rest:
            await self._transport.take_turn()
            self._rest = self._act_on(self._rest)
            await trio.lowlevel.checkpoint()

    def _next_size(self, size: int, taken: int) -> int:
        """How much to read together from now on: less where that was more than a turn, more again where it was not."""
        transport = self._transport
        if taken < size:
            return max(taken, LEAST_READ)
        return min(2 * transport.read_limit, transport.read_size)

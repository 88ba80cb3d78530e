"""Carrying connections without a task for each: nothing is waited for but their ends, and one task sees to these."""

from __future__ import annotations

import select
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ..net import close_in_order, close_with_reset
from ._relay import abort, watched_sockets
from ._tunnel import Answer, check_taken

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import muxpy

    from ._streams import Account

    Told: TypeAlias = Callable[[Exception | None], None]

__all__ = ["Carriage"]

HAS_EPOLL: Final = hasattr(select, "epoll")
"""Elsewhere a splice takes tasks."""

ENDS_A_TURN: Final = 64
"""Connections that are ended before other tasks run: a session may end with thousands."""


class _Carried:
    __slots__ = ("_carriage", "error", "far", "near", "told")

    def __init__(self, carriage: Carriage, near: socket.socket, far: muxpy.Stream, told: Told) -> None:
        self._carriage = carriage
        self.near = near
        self.far = far
        self.told = told
        self.error: BaseException | None = None

    def on_end(self, error: BaseException | None) -> None:
        self.error = error
        self._carriage.note_end(self)


class Carriage:
    """The connections of one forward that are carried so. A task must `run` it."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._carried: set[_Carried] = set()
        self._ended: deque[_Carried] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._closed = False
        self._over = False

    def begin(self, near: socket.socket, far: muxpy.Stream, opening: bytes, told: Told) -> bool:
        """Carry an accepted connection over a new stream; `opening` is the first message and what goes right behind it.
        `told` is called at its end: with Refused or Unanswered if the other end did not accept it, and with None if it
        ended in any usual way.

        Returns False, and does nothing, if that takes a task that waits: see `carry`.
        """
        if not HAS_EPOLL:
            return False
        one = _Carried(self, near, far, told)
        try:
            far.send_nowait(opening)
            far.start_splice(near, head=Answer(), on_end=one.on_end)
        except trio.WouldBlock:
            return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            abort(near, far)
            told(None)
            return True
        self._carried.add(one)
        self._account.open.add(far)
        watched_sockets()[near] = far.reset
        if self._over:
            self._break_off(one)
        return True

    def note_end(self, one: _Carried) -> None:
        """The splice of a connection has ended."""
        if not self._ended:
            self._news.unpark()
        self._ended.append(one)

    def close(self) -> None:
        """No more begin."""
        self._closed = True
        self._news.unpark()

    async def run(self) -> None:
        """Until it is closed, and all connections have ended. If cancelled, they are reset."""
        try:
            while self._carried or not self._closed:
                await self._news.park()
                await self._see_to_ends()
        finally:
            self._over = True
            for one in list(self._carried):
                self._break_off(one)

    async def _see_to_ends(self) -> None:
        number = 0
        while self._ended:
            self._end(self._ended.popleft())
            number += 1
            if not number % ENDS_A_TURN:
                await trio.lowlevel.checkpoint()

    def _end(self, one: _Carried) -> None:
        error = one.error
        if error is None:
            close_in_order(one.near)
        else:
            abort(one.near, one.far)
        self._leave(one, None)
        one.told(_not_carried(error))

    def _break_off(self, one: _Carried) -> None:
        one.far.reset()  # first: the splice must let go of the socket
        close_with_reset(one.near)
        self._leave(one, trio.Cancelled)

    def _leave(self, one: _Carried, kind: type[BaseException] | None) -> None:
        self._carried.discard(one)
        del watched_sockets()[one.near]
        self._account.end(one.far, kind)


def _not_carried(error: BaseException | None) -> Exception | None:
    """What is to be told of an error: not that one side was reset, which the other side has learned."""
    try:
        check_taken(error)
    except Exception as unanswered:
        return unanswered
    usual = error is None or isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError)
    return None if usual or not isinstance(error, Exception) else error

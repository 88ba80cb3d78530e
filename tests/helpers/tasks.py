"""Small things for tests with tasks: cancelling at a given checkpoint, reading to the end, counting wakeups."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec

import trio
import trio.testing

from .pairs import stream_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import muxpy

__all__ = [
    "LIMIT",
    "CancelAt",
    "TimeBySteps",
    "Wakeups",
    "assert_echo",
    "bounded",
    "cancel_at",
    "echo",
    "moments",
    "read_all",
]

P = ParamSpec("P")

LIMIT: Final = 300.0
"""Seconds after which a test that waits in real time is taken to hang: a net and no measure, however slow or busy the
machine is. Less than pytest's own limit, which ends the worker and all tests with it."""


class CancelAt(trio.abc.Instrument):
    """Cancels `scope` when the task that made this has stopped for the `nth` time, at whatever it waits for.

    With `any_task`, after the nth step of whichever task: a task that waits in one place for long is then cancelled
    at every stage of what goes on meanwhile.
    """

    def __init__(self, nth: int, scope: trio.CancelScope, *, any_task: bool) -> None:
        self.left = nth
        self._scope = scope
        self._task = None if any_task else trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.left > 0 and (self._task is None or task is self._task):
            self.left -= 1
            if not self.left:
                self._scope.cancel()


async def cancel_at(nth: int, operation: Callable[[], Awaitable[object]], *, any_task: bool = False) -> bool:
    """Run `operation` and cancel it at its nth checkpoint. False once it has fewer of them."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(nth, scope, any_task=any_task)
        trio.lowlevel.add_instrument(instrument)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return instrument.left == 0


def moments() -> Iterator[int]:
    """1, 2, 3, ... and, where an operation is long, a sample of what follows."""
    nth = 0
    while True:
        nth += 1 + nth // 16
        yield nth


class Wakeups(trio.abc.Instrument):
    """Counts the steps of all tasks but the one that made it."""

    def __init__(self) -> None:
        self.count = 0
        self._task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self._task:
            self.count += 1

    def __enter__(self) -> Wakeups:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)


class TimeBySteps(trio.abc.Instrument):
    """Each step of a task takes some time on a mock clock: time goes by what is done, and alike on any machine."""

    def __init__(self, clock: trio.testing.MockClock, step: float) -> None:
        self._clock = clock
        self._step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._clock.jump(self._step)

    def __enter__(self) -> TimeBySteps:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the peer ends its direction."""
    received = bytearray()
    while part := await stream.receive_some():
        received += part
    return bytes(received)


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    """Send everything back, then EOF."""
    async for part in stream:
        await stream.send_all(part)
    await stream.send_eof()


async def assert_echo(opener: muxpy.Session, acceptor: muxpy.Session, payload: bytes = b"still here") -> None:
    """A new stream works, in both directions, and leaves nothing behind."""
    near, far = await stream_pair(opener, acceptor)
    async with near, far:
        await near.send_all(payload)
        await near.send_eof()
        assert await read_all(far) == payload
        await far.send_all(payload)
        await far.send_eof()
        assert await read_all(near) == payload


def bounded(
    seconds: float = LIMIT,
) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, Awaitable[None]]]:
    """Decorator: the test fails if it takes longer, on Trio's clock. With an autojump clock a hang fails at once."""

    def decorate(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
        @wraps(test)
        async def run(*args: P.args, **kwargs: P.kwargs) -> None:
            with trio.fail_after(seconds):
                await test(*args, **kwargs)

        return run

    return decorate

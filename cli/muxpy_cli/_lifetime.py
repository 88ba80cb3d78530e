"""Running until it is over or a signal comes: the first is a graceful shutdown, the second ends it immediately."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import trio

from ._errors import Failure, Interrupted, describe, is_exhausted, the_cause
from .view import fail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Lifetime", "run"]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Lifetime:
    """Where a program says how it wants to end."""

    def __init__(self) -> None:
        self.drain: Callable[[], Awaitable[None]] | None = None
        """Finishes what is under way. While it is None, a signal ends the program immediately: there is nothing to
        lose."""


def run(main: Callable[[Lifetime], Awaitable[None]], *, cuts: bool = False) -> int:
    """Run `main` in Trio; the exit code. A failure becomes one line.

    With `cuts`, the first signal cuts `main` off, and the exit code says so: what it has done until then is a part, and
    the caller must not take it for the whole.
    """
    try:
        trio.run(_until_cut if cuts else _until_signal, main)
    except KeyboardInterrupt:  # before or after Trio watches for signals
        return Interrupted(signal.SIGINT).exit_code
    except Exception as error:
        return report(the_cause(error))
    return 0


def report(error: BaseException) -> int:
    """Print why the program ends; its exit code."""
    if isinstance(error, Interrupted):
        return error.exit_code
    if isinstance(error, Failure):
        fail(str(error))
        return error.exit_code
    if is_exhausted(error):
        fail(describe(error))
        return 1
    fail(f"internal error: {type(error).__name__}: {describe(error)} (MUXPY_TRACEBACK=1 shows where)")
    if os.environ.get("MUXPY_TRACEBACK"):
        sys.excepthook(type(error), error, error.__traceback__)
    return 1


async def _until_signal(main: Callable[[Lifetime], Awaitable[None]]) -> None:
    lifetime = Lifetime()
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, lifetime, nursery.cancel_scope)
            await main(lifetime)
            nursery.cancel_scope.cancel()


async def _until_cut(main: Callable[[Lifetime], Awaitable[None]]) -> None:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup
    with trio.open_signal_receiver(*SIGNALS, *(() if ignored else (signal.SIGHUP,))) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_at_next, signals)
            await main(Lifetime())
            nursery.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], lifetime: Lifetime, everything: trio.CancelScope) -> None:
    await anext(signals)
    if lifetime.drain is None:
        everything.cancel()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_at_next, signals)
        await lifetime.drain()
        everything.cancel()


async def _end_at_next(signals: AsyncIterator[int]) -> None:
    raise Interrupted(await anext(signals))

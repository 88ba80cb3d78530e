"""What runs around either end: signals, the views, and the messages to a service manager."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ._errors import Failure, describe
from ._systemd import notify_ready, notify_reloading, notify_stopping, run_watchdog
from .view import run_display, serve_control, serve_metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ._lifetime import Lifetime
    from ._options import Output
    from .view import Console, Snapshot

__all__ = ["attend"]


ENOUGH: Final = 1024 * 1024
"""Descriptors, where there is no limit: what Linux allows a process by default."""


class App(Protocol):
    """One of the two ends."""

    @property
    def ready(self) -> bool:
        """Whether it can do its work."""

    async def run(self, started: Callable[[], object]) -> None:
        """Run until drained; call `started` once it can be used."""

    async def drain(self) -> None:
        """Graceful shutdown: take nothing new, let what is open finish."""

    @property
    def summary(self) -> str:
        """A few words for a service manager's status line."""

    async def snapshot(self, most: int | None = None) -> Snapshot:
        """Its present state: see TakeSnapshot."""


async def attend(
    app: App, output: Output, console: Console, lifetime: Lifetime, reload: Callable[[], Awaitable[None]]
) -> None:
    """Run an end until it is drained. SIGHUP calls `reload`, which reads the options again and applies them."""
    _allow_descriptors()
    snapshot = _Snapshots(app, console, await app.snapshot())
    # Terminals and signals come before the display: a terminal may be closed as soon as it shows something.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup, which is there to outlive the terminal
    terminals = [] if ignored else _terminals()
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        async with trio.open_nursery() as around:
            around.start_soon(_obey_hangups, hangups, terminals, app, console, reload)
            around.start_soon(run_display, console, snapshot)
            around.start_soon(run_watchdog)
            await _show_control(snapshot, output, console, around)
            if output.metrics is not None:
                address = await around.start(partial(serve_metrics, output.metrics, snapshot, lambda: app.ready))
                console.line(f"metrics on http://{address}/metrics", bound=str(address), event="metrics_listening")
            lifetime.drain = partial(_drain, app)
            await app.run(lambda: notify_ready(app.summary))
            around.cancel_scope.cancel()


class _Snapshots:
    """Snapshots of the app. If taking one fails, the last one serves again: looking at the app must not end it."""

    def __init__(self, app: App, console: Console, first: Snapshot) -> None:
        self._app = app
        self._console = console
        self._last = first
        self._one_at_a_time = trio.Lock()  # a snapshot of many sessions is work, however many ask

    async def __call__(self, most: int | None = None) -> Snapshot:
        async with self._one_at_a_time:
            try:
                self._last = await self._app.snapshot(most)
            except Exception as error:
                self._console.error(f"internal error: the views show what was before: {error!r}")
            return self._last


def _allow_descriptors() -> None:
    """Raise the soft limit to the hard one: each connection takes a descriptor. The usual soft limit of 1,024 is for
    programs that use select(2), as this one does not; getrlimit(2) has others raise it themselves."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH if hard == resource.RLIM_INFINITY else hard, hard))


async def _drain(app: App) -> None:
    notify_stopping()
    await app.drain()


async def _show_control(snapshot: _Snapshots, output: Output, console: Console, nursery: trio.Nursery) -> None:
    try:
        await nursery.start(partial(serve_control, output.control, snapshot))
    except Failure as failure:
        if output.control is not None:
            raise
        # Nobody asked for this socket, and another user may have made its place unusable.
        console.complain(f"`muxpy status` will not find this process: {failure}")


async def _obey_hangups(
    signals: AsyncIterator[int],
    terminals: list[int],
    app: App,
    console: Console,
    reload: Callable[[], Awaitable[None]],
) -> None:
    closed = False
    async for _ in signals:
        if closed:
            continue  # a second SIGHUP must not cut the draining short
        if terminals and not _terminals():  # the terminal was closed: not a request to reload
            os.kill(os.getpid(), signal.SIGTERM)
            closed = True
            continue
        notify_reloading()
        try:
            await reload()
        except Exception as error:  # whatever is wrong with the new options, the process goes on with the old ones
            console.error(f"going on with what was read before: {describe(error)}", event="reload_failed")
        else:
            console.event("read the configuration again", style="green", event="reloaded")
        notify_ready(app.summary)


def _terminals() -> list[int]:
    """The standard streams that are a terminal which still exists."""
    return [descriptor for descriptor in range(3) if os.isatty(descriptor)]

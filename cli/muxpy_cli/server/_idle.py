"""Closing connections that carry nothing any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ..specs import format_address
from ._pauses import Slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import muxpy

__all__ = ["watch_idle"]

LOOKS: Final = 4
"""Times that each connection is looked at in the idle time-out: it may last a quarter longer than that."""
NO_LIMIT_PAUSE: Final = 5.0
"""Seconds between looks at whether a reload has set a time-out."""


async def watch_idle(
    limit: Callable[[], float | None],
    streams: Callable[[], Iterable[muxpy.Stream]],
    tell: Callable[[str], None],
) -> None:
    """Reset streams that have carried nothing for `limit()` seconds; None is no limit. `tell` is told of each.

    A look now and then, and no timer for each connection: that would cost each of its messages something.
    """
    seen: dict[muxpy.Stream, tuple[int, float]] = {}
    while True:
        seconds = limit()
        await trio.sleep(seconds / LOOKS if seconds else NO_LIMIT_PAUSE)
        if not seconds:
            seen.clear()
            continue
        now = trio.current_time()
        before, seen = seen, {}
        slices = Slices()
        for stream in list(streams()):
            await slices.done()
            carried = _carried(stream)
            last, since = before.get(stream, (carried, now))
            if last != carried:
                since = now
            elif now - since >= seconds:
                stream.reset()
                client = format_address(stream.remote_address)
                tell(f"closed a connection of {client} that carried nothing for {seconds:g} s")
                continue
            seen[stream] = carried, since


def _carried(stream: muxpy.Stream) -> int:
    figures = stream.statistics()
    return figures.data_received + figures.data_sent

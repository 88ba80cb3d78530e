"""A session's streams as a map that cannot be walked over, for work whose cost must not depend on their number."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from muxpy.proto import StreamState
from tests.helpers.inside import connection_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import muxpy

__all__ = ["unwalkable"]


class Unwalkable(dict[int, StreamState]):
    """Takes, finds, forgets and counts; fails when somebody goes through it."""

    def _walk(self) -> NoReturn:
        raise AssertionError("this goes through all streams of the session")

    __iter__ = __reversed__ = keys = values = items = copy = _walk


@contextmanager
def unwalkable(session: muxpy.Session) -> Iterator[None]:
    """While the block runs, going through the streams of `session` is an error."""
    core = connection_of(session)
    table = core._table
    before = core.streams
    core.streams = table.live = Unwalkable(before)
    try:
        yield
    finally:
        kept = dict(dict.items(core.streams))
        before.clear()
        before.update(kept)
        core.streams = table.live = before

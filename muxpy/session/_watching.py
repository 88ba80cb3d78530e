"""Learning that a stream is over, for code that neither sends nor receives on it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from muxpy._errors import SessionClosed, StreamReset

from ._engine import reset_error
from ._waiting import waiting_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muxpy.proto import StreamState

    from ._engine import Engine

__all__ = ["Cut", "watched"]

Cut: TypeAlias = StreamReset | SessionClosed | None
"""What cut a stream short; None if nothing did, or this side's own close or reset."""


@contextmanager
def watched(engine: Engine, state: StreamState, tell: Callable[[Cut], object]) -> Iterator[None]:
    """While the block runs, call `tell` once when the stream is over, with what cut it short."""
    waiting = waiting_of(state)

    def look() -> bool:  # it does not refer to itself: such a cycle would be left to the cycle collector at each call
        is_over = state.closed or state.phase.over or engine.ending.end is not None
        if is_over:
            tell(_cut_by(engine, state))
        return is_over

    if not look():
        waiting.watch(look)
    try:
        yield
    finally:
        waiting.unwatch(look)


def _cut_by(engine: Engine, state: StreamState) -> Cut:
    end = engine.ending.end
    if state.closed:
        return None
    if state.reset_code is not None:
        return reset_error(state)
    return None if state.phase.over or end is None else SessionClosed(end)

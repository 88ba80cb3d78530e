"""Graceful shutdown of one session: no more streams, and time for open ones to finish."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

from muxpy._codes import ErrorCode

from ._ending import SessionEvent, in_order

if TYPE_CHECKING:
    from muxpy.proto import StreamState

    from ._background import Background
    from ._engine import Engine

__all__ = ["close_session", "go_away"]

log = logging.getLogger("muxpy.session")

NAMED_STREAMS: Final = 8
"""The most streams that one line of the log names."""


def go_away(engine: Engine, code: int = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> bool:
    """See Session.go_away."""
    if engine.ending.end is not None or not engine.core.go_away(code, debug, final=final):
        return False
    engine.writer.poke()
    engine.backlog.wake()
    engine.ending.news()
    return True


async def close_session(engine: Engine, background: Background, *, announce: bool = False) -> None:
    """See Session.aclose."""
    ending = engine.ending
    try:
        if ending.end is None:
            ending.drain_until = trio.current_time() + engine.config.drain_timeout
            if announce:
                with trio.CancelScope(deadline=ending.drain_until):
                    go_away(engine, final=False)
                    await ending.until(lambda: ending.going_away)
            engine.decide(SessionEvent.CLOSE)
            go_away(engine)
            engine.backlog.refuse_all()
            engine.acted()
            await _drain(engine)
            engine.decide(SessionEvent.FINISHED, in_order(engine.core.remote_goaway))
        await ending.until(lambda: ending.closed)
    except BaseException:
        background.kill(None)
        raise


async def _drain(engine: Engine) -> None:
    """Let open streams finish, for as long as there is time."""
    ending = engine.ending
    if ending.end is not None or not any(engine.unfinished()):
        return
    limit = f"{engine.config.drain_timeout:g} s"
    if log.isEnabledFor(logging.INFO):  # making the names takes a look at every stream
        log.info("%s: closing, waiting up to %s for %s", engine.name, limit, _names_of_unfinished(engine))
    with trio.CancelScope(deadline=ending.drain_until) as patience:
        await ending.until(lambda: ending.end is not None or not any(engine.unfinished()))
    if patience.cancelled_caught and ending.end is None:
        names = _names_of_unfinished(engine)
        log.warning("%s: closed after %s, before the end of %s", engine.name, limit, names)


def _names_of_unfinished(engine: Engine) -> str:
    """The names of some open streams, for a person who looks for one that the program forgot to close."""
    states = engine.unfinished()
    names = [_name_of(engine, state) for state in islice(states, NAMED_STREAMS)]
    more = sum(1 for _ in states)
    return ", ".join(names) + (f", and {more} more" if more else "")


def _name_of(engine: Engine, state: StreamState) -> str:
    opener = "this side" if engine.core.is_local(state.id) else "the peer"
    return f"stream {state.id} (type {state.stream_type}, priority {state.priority}, opened by {opener})"

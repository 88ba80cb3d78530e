"""What is behind sessions with the second core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import muxpy
from muxpy.proto import Opening

from .core import SeamCore, SeamStream

if TYPE_CHECKING:
    from muxpy.proto import Fields

__all__ = ["answer_with", "core_of", "finish_with", "give_credit", "open_with", "settle", "state_of"]


def core_of(session: muxpy.Session) -> SeamCore:
    core = session._engine.core
    assert isinstance(core, SeamCore)
    return core


def state_of(stream: muxpy.Stream) -> SeamStream:
    state = stream._state
    assert isinstance(state, SeamStream)
    return state


# ---- what a session of this protocol's own would do, and what no public name does ----


async def open_with(session: muxpy.Session, head: Fields) -> muxpy.Stream:
    """Open a stream with a head."""
    engine = session._engine
    stream = muxpy.Stream(session, engine, await engine.openers.open(Opening(head=head), fin=False))
    engine.acted()
    return stream


def answer_with(session: muxpy.Session, stream: muxpy.Stream, head: Fields) -> None:
    """Send the head of the side that did not open the stream."""
    core_of(session).answer(stream._state, head)
    session._engine.acted()


def finish_with(stream: muxpy.Stream, trailers: Fields) -> None:
    """End this direction with trailers."""
    stream._engine.finish(stream._state, trailers)


def give_credit(session: muxpy.Session, count: int) -> None:
    """Let the peer send so much more on all streams together."""
    core_of(session).give_credit(count)
    session._engine.acted()


def settle(session: muxpy.Session, **changed: int) -> None:
    """Take more or less of the peer from now on."""
    core = core_of(session)
    core.settle(core.said._replace(**changed))
    session._engine.acted()

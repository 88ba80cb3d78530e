"""A look inside of a session, for tests of what cannot be seen from outside."""

from muxpy import Session
from muxpy.proto.muxado import Connection
from muxpy.session._waiting import Waiting, waiting_of

__all__ = ["connection_of", "may_open", "waiting_on"]


def connection_of(session: Session) -> Connection:
    """The core of a session, which is one of muxado."""
    core = session._engine.core
    assert isinstance(core, Connection)
    return core


def may_open(session: Session) -> bool:
    """Whether it opens streams: in some protocols only one side does."""
    return session._engine.core.can_open


def waiting_on(session: Session, stream_id: int) -> Waiting:
    """Who waits on one of its streams."""
    return waiting_of(session._engine.core.streams[stream_id])

"""A look inside of a session, for tests of what cannot be seen from outside."""

from muxpy import Session
from muxpy.proto.muxado import Connection

__all__ = ["connection_of", "may_open"]


def connection_of(session: Session) -> Connection:
    """The core of a session, which is one of muxado."""
    core = session._engine.core
    assert isinstance(core, Connection)
    return core


def may_open(session: Session) -> bool:
    """Whether it opens streams: in some protocols only one side does."""
    return session._engine.core.can_open

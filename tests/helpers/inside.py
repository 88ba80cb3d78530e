"""A look inside of a session, for tests of what cannot be seen from outside."""

import trio

from muxpy import Session
from muxpy.proto import Core
from muxpy.proto.muxado import Connection

__all__ = ["assert_read", "connection_of", "core_of", "leads", "may_open", "reader_rests"]


def connection_of(session: Session) -> Connection:
    """The core of a session, which is one of muxado."""
    core = session._engine.core
    assert isinstance(core, Connection)
    return core


def core_of(session: Session) -> Core:
    """The core of a session of any protocol."""
    return session._engine.core


def may_open(session: Session) -> bool:
    """Whether it opens streams: in some protocols only one side does."""
    return session._engine.core.can_open


def leads(session: Session) -> bool:
    """Whether a task that waits for something reads for the session, in the place of the reader's task."""
    return session._engine.lead._leader is not None


def reader_rests(session: Session) -> bool:
    """Whether the reader's task waits until nobody else reads any more."""
    return not session._engine.lead._parked.empty


def assert_read(*sessions: Session) -> None:
    """When all is quiet, exactly one task reads for each session that goes on, and none for one that has ended; nobody
    is on its way, and the instrument is there only if some session is led."""
    for session in sessions:
        engine = session._engine
        lead, transport = engine.lead, engine.transport
        assert lead.on_its_way is None, "nobody reads: a task is on its way, and all is quiet"
        if engine.ending.closed:
            assert lead._leader is None
            assert not lead._led
        elif not engine.reader.over:
            assert lead._parked.empty == (lead._leader is None), "not exactly one task reads"
            assert lead._led == (lead._leader is not None)
            assert lead._leader is None or transport.waiting, "the leader waits for something else"
        assert lead not in lead._steps.watched.values()
        assert _installed(lead._steps) == bool(lead._steps._leads)


def _installed(instrument: trio.abc.Instrument) -> bool:
    try:
        trio.lowlevel.remove_instrument(instrument)
    except KeyError:
        return False
    trio.lowlevel.add_instrument(instrument)
    return True

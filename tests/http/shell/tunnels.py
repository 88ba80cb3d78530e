"""Sessions of HTTP/2 that are opened as those of muxado are: each stream is a tunnel (CONNECT), which is a stream of
bytes in both directions as any other. The server takes each at the moment when it accepts it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from muxpy import SessionConfig
from muxpy.http import Config, Exchange, HttpSession, Response
from muxpy.http._session import make_session
from muxpy.proto import Opening
from muxpy.proto.http2 import HttpStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    import muxpy
    from muxpy.proto import StreamState
    from muxpy.session import Background, Engine, SessionOfStream
    from muxpy.transport import Transport

__all__ = ["TunnelSession", "put_together"]

TAKEN = ((b":status", b"200"),)


def connect(port: int) -> Opening:
    """What asks for a tunnel. What is a stream's type in muxado is the port here."""
    return Opening(head=((b":method", b"CONNECT"), (b":authority", b"db:%d" % port)))


class TunnelSession(HttpSession):
    """It opens streams as a session of muxado does."""

    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> muxpy.Stream:
        engine = self.engine
        stream = self._stream(await engine.openers.open(connect(stream_type), fin=fin))
        engine.acted()
        return stream

    def open_stream_nowait(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> muxpy.Stream:
        engine = self.engine
        stream = self._stream(engine.openers.open_nowait(connect(stream_type), fin=fin))
        engine.acted()
        return stream


class Tunnel(Exchange):
    """A tunnel that is taken."""

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        super().__init__(session, engine, state)
        assert isinstance(session, HttpSession)
        assert isinstance(state, HttpStream)
        state.stream_type = int(state.request.authority.partition(b":")[2])
        if state.phase.sends:
            session.core.send_head(state, TAKEN)
            engine.acted()


def put_together(
    transport: Transport, *, client: bool, config: SessionConfig, extensions: Iterable[muxpy.Extension] | None
) -> tuple[HttpSession, Background]:
    """A session, and the tasks that run it."""
    said = {field.name: getattr(config, field.name) for field in fields(SessionConfig)} | {"heartbeat_interval": None}
    kind = Response if client else Tunnel
    return make_session(transport, client=client, config=Config(**said), kind=kind)

"""Sessions of HTTP/2 that are opened as those of muxado are: each stream is a tunnel (CONNECT), which is a stream of
bytes in both directions as any other. The server takes each at the moment when it accepts it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from muxpy import SessionConfig
from muxpy.http import Config, Exchange, HttpSession, Response
from muxpy.http._session import make_session, parts_of
from muxpy.proto import Opening
from muxpy.proto.http2 import HttpStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    import muxpy
    from muxpy.proto import Fields, StreamState
    from muxpy.session import Background, Engine, SessionOfStream
    from muxpy.transport import Transport

__all__ = ["Tunnel", "TunnelSession", "authority", "http_config", "put_together"]

TAKEN = ((b":status", b"200"),)


def authority(number: int) -> tuple[bytes, bytes]:
    """The field that has what is a stream's type in muxado: as a port."""
    return b":authority", b"db:%d" % number


class TunnelSession(HttpSession):
    """It opens streams as a session of muxado does."""

    async def open_stream(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> muxpy.Stream:
        engine = parts_of(self).engine
        stream = self._stream(await engine.openers.open(Opening(head=self.head(stream_type)), fin=fin))
        engine.acted()
        return stream

    def open_stream_nowait(self, priority: int = 0, stream_type: int = 0, fin: bool = False) -> muxpy.Stream:
        engine = parts_of(self).engine
        stream = self._stream(engine.openers.open_nowait(Opening(head=self.head(stream_type)), fin=fin))
        engine.acted()
        return stream

    def head(self, number: int) -> Fields:
        """What a stream is asked for with."""
        return ((b":method", b"CONNECT"), authority(number))


class Tunnel(Exchange):
    """A tunnel that is taken."""

    def __init__(self, session: SessionOfStream, engine: Engine, state: StreamState) -> None:
        super().__init__(session, engine, state)
        assert isinstance(session, HttpSession)
        assert isinstance(state, HttpStream)
        state.stream_type = int(state.request.authority.partition(b":")[2])
        if state.phase.sends:
            fields, length = self.answer(session, state)
            parts_of(session).core.send_head(state, fields, length=length)
            engine.acted()

    def answer(self, session: HttpSession, state: HttpStream) -> tuple[Fields, int | None]:
        """The head of the response, and the bytes of its body if it says how many."""
        return TAKEN, None


def http_config(config: SessionConfig, **others: int | float | None) -> Config:
    """The same limits for HTTP/2."""
    return Config(**{field.name: getattr(config, field.name) for field in fields(SessionConfig)} | others)


def put_together(
    transport: Transport, *, client: bool, config: SessionConfig, extensions: Iterable[muxpy.Extension] | None
) -> tuple[HttpSession, Background]:
    """A session, and the tasks that run it."""
    kind = Response if client else Tunnel
    return make_session(transport, client=client, config=http_config(config, heartbeat_interval=None), kind=kind)

"""Sessions of HTTP/2 for a round. What a stream is follows from its number: a tunnel; a request and a response with
`content-length`, or with trailers that both sides check."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import trio

from muxpy._running import prepared, run_session, secure
from muxpy.http import Exchange, HttpSession, Response
from muxpy.http._session import looking_after, make_session, prepare_tls
from muxpy.transport import StreamTransport
from tests.helpers.tunnels import Tunnel, TunnelSession, authority

from .script import WHOLE, script_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import muxpy
    from muxpy.http import Config
    from muxpy.proto import Fields
    from muxpy.proto.http2 import HttpStream

__all__ = ["end_of", "open_http_session", "wrong_trailers"]


def is_tunnel(number: int) -> bool:
    return number % 3 == 0


def has_trailers(number: int) -> bool:
    return number % 3 == 1


def length_of(seed: int, number: int, *, there: bool) -> int | None:
    """What `content-length` says, if all of a body comes unless the link is bad."""
    script = script_of(seed, number)
    if number % 3 != 2 or script.play not in WHOLE:
        return None
    return script.there if there else script.back


def with_length(fields: Fields, length: int | None) -> Fields:
    return fields if length is None else (*fields, (b"content-length", b"%d" % length))


class Asking(TunnelSession):
    """Tunnels, and requests."""

    seed = 0

    def head(self, number: int) -> Fields:
        if is_tunnel(number):
            return TunnelSession.head(self, number)
        fields = ((b":method", b"POST"), (b":scheme", b"http"), authority(number), (b":path", b"/"))
        pushed = script_of(self.seed, number).play == "push"
        return with_length(fields, None if pushed else length_of(self.seed, number, there=True))


class Answer(Tunnel):
    """The server's end of each, which is answered at once."""

    def answer(self, session: HttpSession, state: HttpStream) -> tuple[Fields, int | None]:
        assert isinstance(session, Asking)
        fields, length = super().answer(session, state)
        if not is_tunnel(state.stream_type):
            length = length_of(session.seed, state.stream_type, there=False)
        return with_length(fields, length), length


def trailers_of(seed: int, number: int) -> dict[str, str]:
    return {"x-digest": sha256(b"%d %d" % (seed, number)).hexdigest()}


async def end_of(stream: muxpy.Stream, seed: int, number: int) -> None:
    """End a direction as its number wants it."""
    if isinstance(stream, (Exchange, Response)) and has_trailers(number):
        await stream.finish(trailers_of(seed, number))
    else:
        await stream.send_eof()


def wrong_trailers(stream: muxpy.Stream, seed: int, number: int) -> str:
    """What is wrong with the trailers of a direction that has ended; a request without a body has none."""
    if not isinstance(stream, (Exchange, Response)) or not has_trailers(number):
        return ""
    if stream.trailers is None or dict(stream.trailers) != trailers_of(seed, number):
        return f"the trailers are {stream.trailers}"
    return ""


@asynccontextmanager
async def open_http_session(
    end: trio.abc.Stream, seed: int, *, client: bool, config: Config, ssl_context: ssl.SSLContext | None
) -> AsyncIterator[HttpSession]:
    """A session that looks after what takes too long, as those of `http.serve` and `http.connect` do."""
    prepare_tls(ssl_context)
    if isinstance(end, trio.SocketStream):
        transport = await secure(end, ssl_context, config, server_hostname="127.0.0.1", server_side=not client)
    else:
        transport = prepared(StreamTransport(end), config)
    make = partial(make_session, client=client, config=config, kind=Response if client else Answer)
    async with run_session(transport, config, make) as session:
        session.__class__ = Asking
        assert isinstance(session, Asking)
        session.seed = seed
        async with looking_after({session}):
            yield session

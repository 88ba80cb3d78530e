"""Both ends of HTTP/2 in one test, and ends that are scripted frame by frame."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

import muxpy
from muxpy import http
from muxpy.frame.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    TYPE_NAMES,
    WINDOW_UPDATE,
    Decoder,
    HpackDecoder,
    HpackEncoder,
    encode_data_header,
    encode_headers,
    encode_ping,
    encode_settings,
    parse_goaway,
    parse_headers,
    parse_push_promise,
    parse_rst_stream,
)
from tests.helpers.links import pipe_pair
from tests.helpers.pairs import client_context, server_context, transport_pair

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from muxpy.proto import Fields
    from tests.helpers.links import Channel

    Handler = Callable[[http.Exchange], Awaitable[object]]

__all__ = ["GET", "KINDS", "POST", "Frame", "RawPeer", "joined", "raw_client", "raw_server", "served", "tcp_port"]

KINDS = ("memory", "tcp", "tls")

PATIENT = http.Config(settings_timeout=None)
"""On a busy machine, a process may have to wait for more than two seconds."""

GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))
POST = ((b":method", b"POST"), *GET[1:])


@asynccontextmanager
async def tcp_port(handler: Handler, **options: Any) -> AsyncIterator[int]:  # noqa: ANN401
    """A server on a free port, until the block ends."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(http.serve, handler, 0, host="127.0.0.1", **options))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served(
    handler: Handler,
    kind: str = "memory",
    *,
    client_config: http.Config = PATIENT,
    context: ssl.SSLContext | None = None,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[http.Client]:
    """A client of a server that runs `handler`; `options` are the server's."""
    options.setdefault("config", PATIENT)
    if kind in ("tcp", "tls"):
        secure = kind == "tls"
        if secure:
            options["ssl_context"] = server_context()
        url = "https://127.0.0.1" if secure else "http://127.0.0.1"
        trusting = (context or client_context()) if secure else None
        async with (
            tcp_port(handler, **options) as port,
            http.connect(f"{url}:{port}", ssl_context=trusting, config=client_config) as client,
        ):
            yield client
        return
    near, far = await transport_pair(kind)
    async with joined(handler, near, far, client_config=client_config, **options) as client:
        yield client


@asynccontextmanager
async def joined(
    handler: Handler,
    near: trio.abc.Stream,
    far: trio.abc.Stream,
    *,
    client_config: http.Config = PATIENT,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[http.Client]:
    """The same over two streams that are there."""
    options.setdefault("config", PATIENT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(http.serve_stream, handler, far, **options))
        async with http.connect("http://example.org", stream=near, config=client_config) as client:
            yield client


# ---- scripted ends ----


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it arrived; `fields` are those of HEADERS and PUSH_PROMISE."""

    kind: int
    flags: int
    stream_id: int
    body: bytes
    fields: Fields = ()
    sensitive: frozenset[int] | None = None
    promised: int = 0

    @property
    def name(self) -> str:
        return TYPE_NAMES[self.kind]

    @property
    def end(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self) -> http.ErrorCode:
        """The error code of a RST_STREAM or GOAWAY."""
        number = parse_rst_stream(self.body) if self.kind == RST_STREAM else parse_goaway(self.body)[1]
        return http.ErrorCode(number)

    @property
    def status(self) -> bytes:
        return dict(self.fields)[b":status"]

    def __str__(self) -> str:
        return f"{self.name}{'.' if self.end else ''}"


@dataclass
class RawPeer:
    """The far end of a connection. It answers nothing by itself, and shows no frames of the connection but GOAWAY."""

    stream: trio.abc.HalfCloseableStream
    preface: bytes = b""  # of the peer, still to be taken
    encoder: HpackEncoder = field(default_factory=HpackEncoder)
    decoder: HpackDecoder = field(default_factory=HpackDecoder)
    everything: bool = False  # show all frames
    served: muxpy.SessionClosed | None = None  # how serving it has failed
    _frames: Decoder = field(default_factory=Decoder)
    _waiting: deque[Frame] = field(default_factory=deque)
    _payload: bytes = b""

    async def send(self, *frames: bytes) -> None:
        """Write frames, all in one call."""
        await self.stream.send_all(b"".join(frames))

    def head(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]], *, end: bool = False) -> bytes:
        """A HEADERS frame: to be sent in the order of these calls."""
        return encode_headers(stream_id, self.encoder.encode(tuple(fields)), end, 16384)

    def data(self, stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
        """A DATA frame."""
        return encode_data_header(stream_id, len(payload), end) + payload

    async def receive(self) -> Frame | None:
        """The next frame; None at the end of the transport."""
        while not self._waiting:
            received = await self.stream.receive_some(65536)
            if not received:
                return None
            if self.preface:
                count = min(len(self.preface), len(received))
                assert received[:count] == self.preface[:count]
                self.preface, received = self.preface[count:], received[count:]
            self._take(received)
        return self._waiting.popleft()

    def _take(self, received: bytes | bytearray) -> None:
        for kind, flags, stream_id, body, rest, _ in self._frames.feed(received):
            self._payload += bytes(body)
            if rest:
                continue
            payload, self._payload = self._payload, b""
            fields: Fields = ()
            sensitive, promised = None, 0
            if kind in (HEADERS, PUSH_PROMISE):
                assert flags & END_HEADERS
                if kind == HEADERS:
                    part, _ = parse_headers(flags, payload)
                else:
                    promised, part = parse_push_promise(flags, payload)
                block = self.decoder.decode(part)
                fields, sensitive = block.fields, block.sensitive
            if self.everything or kind not in (SETTINGS, PING, WINDOW_UPDATE):
                self._waiting.append(Frame(kind, flags, stream_id, payload, fields, sensitive, promised))

    async def expect(self, name: str, stream_id: int | None = None) -> Frame:
        """The next frame, which must be of this kind, and for this stream if one is given."""
        frame = await self.receive()
        assert frame is not None, f"expected {name}, the transport ended"
        assert frame.name == name, frame
        if stream_id is not None:
            assert frame.stream_id == stream_id
        return frame

    async def until_end(self, stream_id: int) -> list[Frame]:
        """The frames of a stream until its end or reset, those of others left out."""
        frames: list[Frame] = []
        while not frames or not (frames[-1].end or frames[-1].kind == RST_STREAM):
            frame = await self.receive()
            assert frame is not None, f"the transport ended after {frames}"
            if frame.stream_id == stream_id:
                frames.append(frame)
        return frames

    async def settled(self) -> None:
        """Have all that was sent so far be acted on: wait for the answer to a PING."""
        before, self.everything = self.everything, True
        kept: list[Frame] = []
        await self.send(encode_ping(b"settled!", ack=False))
        while True:
            frame = await self.receive()
            assert frame is not None
            if frame.kind == PING and frame.body == b"settled!":
                break
            if before or frame.kind not in (SETTINGS, PING, WINDOW_UPDATE):
                kept.append(frame)
        self._waiting.extendleft(reversed(kept))
        self.everything = before


@asynccontextmanager
async def raw_client(
    handler: Handler,
    settings: dict[int, int] | None = None,
    *,
    outgoing: Channel | None = None,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[RawPeer]:
    """A scripted client of a server that runs `handler`; `outgoing` carries what the server writes."""
    near, far = pipe_pair(outgoing)
    async with trio.open_nursery() as nursery:
        peer = RawPeer(far)

        async def serve() -> None:
            try:
                await http.serve_stream(handler, near, **options)
            except muxpy.SessionClosed as closed:
                peer.served = closed

        nursery.start_soon(serve)
        await peer.send(PREFACE, encode_settings(settings or {}))
        yield peer
        await peer.stream.aclose()


@asynccontextmanager
async def raw_server(
    settings: dict[int, int] | None = None,
    config: http.Config | None = None,
) -> AsyncIterator[tuple[http.Client, RawPeer]]:
    """A client and its scripted server, which has said its settings unless they are None."""
    near, far = pipe_pair()
    peer = RawPeer(far, preface=PREFACE)
    if settings is not None:
        await peer.send(encode_settings(settings))
    async with http.connect("http://example.org", stream=near, config=config) as client:
        yield client, peer
        await peer.stream.aclose()

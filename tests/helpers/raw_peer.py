"""A peer that is scripted frame by frame: it writes what a test says, right or wrong, and shows what comes back."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import muxpy
from muxpy.frame.muxado import (
    DATA,
    FIN,
    GOAWAY,
    RST,
    SYN,
    WND_INC,
    Decoder,
    encode_data_header,
    parse_code,
    parse_goaway,
)

from .links import Channel, pipe_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import trio

__all__ = ["Frame", "RawPeer", "data", "raw_session"]

NAMES = {SYN: "SYN", RST: "RST", DATA: "DATA", WND_INC: "WND_INC", GOAWAY: "GOAWAY"}


def data(stream_id: int, payload: bytes, *, fin: bool = False) -> bytes:
    """A whole DATA frame."""
    return encode_data_header(stream_id, len(payload), fin=fin) + payload


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it arrived."""

    kind: int
    flags: int
    stream_id: int
    body: bytes

    @property
    def name(self) -> str:
        return NAMES[self.kind]

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)

    @property
    def code(self) -> int:
        """The error code of an RST or a GOAWAY."""
        return parse_code(self.body) if self.kind == RST else parse_goaway(self.body)[1]

    @property
    def debug(self) -> str:
        """The text of a GOAWAY."""
        return parse_goaway(self.body)[2].decode()


class RawPeer:
    """The far end of a session's transport."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._decoder = Decoder()
        self._frames: deque[Frame] = deque()
        self._payload = b""

    async def send(self, *frames: bytes) -> None:
        """Write frames, all in one call."""
        await self.stream.send_all(b"".join(frames))

    async def receive(self) -> Frame | None:
        """The next frame; None at the end of the transport. A DATA frame that came in pieces is put together."""
        while not self._frames:
            received = await self.stream.receive_some(65536)
            if not received:
                assert not self._decoder.mid_frame, "the transport ended inside a frame"
                return None
            for kind, flags, stream_id, body, rest in self._decoder.feed(received):
                self._payload += bytes(body)
                if not rest:
                    self._frames.append(Frame(kind, flags, stream_id, self._payload))
                    self._payload = b""
        return self._frames.popleft()

    async def expect(self, kind: int, stream_id: int | None = None) -> Frame:
        """The next frame, which must be of this kind, and for this stream if one is given."""
        frame = await self.receive()
        assert frame is not None, f"expected {NAMES[kind]}, the transport ended"
        assert frame.name == NAMES[kind]
        if stream_id is not None:
            assert frame.stream_id == stream_id
        return frame

    async def rest(self) -> list[Frame]:
        """All frames until the transport ends."""
        frames = []
        while (frame := await self.receive()) is not None:
            frames.append(frame)
        return frames

    async def aclose(self) -> None:
        """Be gone, without a word."""
        await self.stream.aclose()


@asynccontextmanager
async def raw_session(
    *,
    client: bool = True,
    config: muxpy.SessionConfig | None = None,
    extensions: Iterable[muxpy.Extension] = (),
    outgoing: Channel | None = None,
    incoming: Channel | None = None,
) -> AsyncIterator[tuple[muxpy.Session, RawPeer]]:
    """A session and its scripted peer. `outgoing` carries what the session writes; both are unbounded as a rule."""
    near, far = pipe_pair(outgoing, incoming)
    async with muxpy.open_session(near, client=client, config=config, extensions=extensions) as session:
        yield session, RawPeer(far)

"""A peer of HTTP/2 that is scripted frame by frame: it writes what a test says, right or wrong, and keeps what comes
back. What it reads and writes is its own and that of the `hpack` package; nothing is taken from the library."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import hpack
import trio

from tests.frame.http2 import wire
from tests.frame.http2.wire import frame

if TYPE_CHECKING:
    from collections.abc import Callable

    Fields = tuple[tuple[bytes, bytes], ...]

__all__ = [
    "CODES",
    "LOST",
    "PREFACE",
    "Peer",
    "Seen",
    "data",
    "goaway",
    "headers",
    "literal",
    "ping",
    "priority",
    "push_promise",
    "rst",
    "setting",
    "settings",
    "window",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

CODES: Final = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

MOST_PIECES: Final = 64
PASSES: Final = 3
"""Of the scheduler, in which a piece is read."""

LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Seen(NamedTuple):
    """What counts of a frame. `value`: the name of a code, the fields of a header block, the bytes of a DATA frame or
    a PING, an increment, settings."""

    name: str
    stream_id: int
    value: object = None
    flag: bool = False
    """END_STREAM or ACK."""


# ---- frames ----


def literal(*fields: tuple[bytes, bytes], prefix: int = 0) -> bytes:
    """A header block that changes no table, whatever is in it: short strings only. `prefix` 0x40 has the fields put
    into the table, 0x10 says that nobody ever may."""
    return b"".join([
        b"%c%b%b" % (prefix, _string(name), _string(value)) for name, value in fields
    ])  # fmt: skip


def _string(text: bytes) -> bytes:
    if len(text) < 0x7F:
        return bytes((len(text),)) + text
    rest = len(text) - 0x7F
    octets = bytearray((0x7F,))
    while rest > 0x7F:
        octets.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes(octets) + bytes((rest,)) + text


def headers(stream_id: int, block: bytes, *, end: bool = False, whole: bool = True, flags: int = 0) -> bytes:
    """HEADERS. `end`: END_STREAM; `whole`: END_HEADERS."""
    flags |= (wire.END_STREAM if end else 0) | (wire.END_HEADERS if whole else 0)
    return frame(wire.HEADERS, stream_id, block, flags=flags)


def data(stream_id: int, body: bytes = b"", *, end: bool = False) -> bytes:
    """DATA."""
    return frame(wire.DATA, stream_id, body, flags=wire.END_STREAM if end else 0)


def rst(stream_id: int, code: int = 8) -> bytes:
    """RST_STREAM, with CANCEL unless it says another code."""
    return frame(wire.RST_STREAM, stream_id, code.to_bytes(4, "big"))


def window(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(wire.WINDOW_UPDATE, stream_id, increment.to_bytes(4, "big"))


def priority(stream_id: int, depends_on: int = 0, weight: int = 15) -> bytes:
    """PRIORITY."""
    return frame(wire.PRIORITY, stream_id, depends_on.to_bytes(4, "big") + bytes((weight,)))


def setting(kind: int, value: int) -> bytes:
    """One entry of SETTINGS."""
    return kind.to_bytes(2, "big") + value.to_bytes(4, "big")


def settings(*entries: tuple[int, int], ack: bool = False) -> bytes:
    """SETTINGS."""
    body = b"".join([setting(*entry) for entry in entries])
    return frame(wire.SETTINGS, 0, body, flags=wire.ACK if ack else 0)


def ping(body: bytes, *, ack: bool = False) -> bytes:
    """PING."""
    return frame(wire.PING, 0, body, flags=wire.ACK if ack else 0)


def goaway(last_id: int, code: int = 0) -> bytes:
    """GOAWAY."""
    return frame(wire.GOAWAY, 0, last_id.to_bytes(4, "big") + code.to_bytes(4, "big"))


def push_promise(stream_id: int, promised: int, block: bytes) -> bytes:
    """PUSH_PROMISE."""
    body = promised.to_bytes(4, "big") + block
    return frame(wire.PUSH_PROMISE, stream_id, body, flags=wire.END_HEADERS)


# ---- the peer ----


class Peer:
    """The far end of a connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.pieces = False
        self.seen: list[Seen] = []
        """What came, in its order. Window for the connection is left out, and what belongs to `hidden` streams."""
        self.hidden: set[int] = set()
        self.echoed: dict[int, bytearray] = {}
        """The bytes that came on hidden streams."""
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.blocks: list[bytes] = []
        """Header blocks as they came."""
        self.window = 0
        """Bytes for which the connection's window was raised."""
        self.over = False
        """The connection has ended."""
        self.begins_with = b""
        """What has to come first: the preface, from a client."""
        self._buffer = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._number = 0

    async def send(self, *frames: bytes) -> None:
        """Write frames, all in one call, or in `pieces`, each of which is read before the next one is written. A
        connection that has ended does not matter."""
        written = b"".join(frames)
        size = len(written) // MOST_PIECES + 1 if self.pieces else len(written)
        with suppress(*LOST):
            for start in range(0, len(written), size or 1):
                await self.stream.send_all(written[start : start + size])
                for _ in range(PASSES if self.pieces else 0):
                    await trio.lowlevel.checkpoint()

    def encoded(self, *fields: tuple[bytes, bytes]) -> bytes:
        """A header block of another implementation, with Huffman codes and the dynamic table. It must be sent."""
        return self.encoder.encode(list(fields))

    async def read(self) -> None:
        """Read until the connection ends, and end too."""
        with suppress(*LOST):
            while received := await self.stream.receive_some(65536):
                self._buffer += received
                self._cut()
                self._changed.unpark_all()
        assert not self._buffer, "the connection has ended inside a frame"
        self.over = True
        self._changed.unpark_all()
        with suppress(*LOST):
            await self.stream.aclose()

    def _cut(self) -> None:
        buffer = self._buffer
        if self.begins_with:
            if len(buffer) < len(self.begins_with):
                return
            assert buffer.startswith(self.begins_with)
            del buffer[: len(self.begins_with)]
            self.begins_with = b""
        while len(buffer) >= 9 and len(buffer) >= 9 + (length := int.from_bytes(buffer[:3], "big")):
            kind, flags, stream_id = buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big")
            body = bytes(buffer[9 : 9 + length])
            del buffer[: 9 + length]
            self._note(kind, flags, stream_id, body)

    def _note(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        seen = self._read_frame(kind, flags, stream_id, body)
        if stream_id in self.hidden:
            if kind == wire.DATA:
                self.echoed.setdefault(stream_id, bytearray()).extend(body)
            assert kind in (wire.DATA, wire.HEADERS, wire.WINDOW_UPDATE), f"{seen}: the other stream does not go on"
        elif seen[:2] == ("WINDOW_UPDATE", 0):
            self.window += int.from_bytes(body, "big")
        else:
            self.seen.append(seen)

    def _read_frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> Seen:
        end = bool(flags & wire.END_STREAM)
        match kind:
            case wire.HEADERS:
                assert flags & wire.END_HEADERS
                return Seen("HEADERS", stream_id, self._decoded(body), end)
            case wire.PUSH_PROMISE:
                promised = int.from_bytes(body[:4], "big")
                return Seen("PUSH_PROMISE", stream_id, (promised, self._decoded(body[4:])))
            case wire.DATA:
                return Seen("DATA", stream_id, body, end)
            case wire.RST_STREAM:
                return Seen("RST", stream_id, _code(body))
            case wire.GOAWAY:
                return Seen("GOAWAY", int.from_bytes(body[:4], "big"), _code(body[4:8]))
            case wire.WINDOW_UPDATE:
                return Seen("WINDOW_UPDATE", stream_id, int.from_bytes(body, "big"))
            case wire.PING:
                return Seen("PING", stream_id, body, end)
            case wire.SETTINGS:
                entries = [(body[at : at + 2], body[at + 2 : at + 6]) for at in range(0, len(body), 6)]
                value = tuple((int.from_bytes(one, "big"), int.from_bytes(two, "big")) for one, two in entries)
                return Seen("SETTINGS", stream_id, value, end)
        raise AssertionError(f"a frame of type {kind}")

    def _decoded(self, block: bytes) -> Fields:
        self.blocks.append(block)
        return tuple((bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for this, which depends on what came."""
        while not condition():
            assert not self.over, f"the connection has ended; it had sent {self.seen}"
            await self._changed.park()

    async def ended(self) -> None:
        """Wait for the end of the connection, which acts on nothing more."""
        question = ping(b"still up")
        await self.send(question)
        while not self.over:
            assert Seen("PING", 0, question[9:], True) not in self.seen, f"the connection goes on, after {self.seen}"
            await self._changed.park()

    async def expect(self, *expected: Seen) -> None:
        """Wait for this, and nothing else."""
        await self.until(lambda: len(self.seen) >= len(expected))
        assert tuple(self.seen) == expected
        self.seen.clear()

    async def answered(self) -> None:
        """Wait until all that was sent has been acted on: the answer to a PING comes after that."""
        self._number += 1
        body = b"answer%2d" % (self._number % 100)
        await self.send(ping(body))
        answer = Seen("PING", 0, body, True)
        await self.until(lambda: answer in self.seen)
        self.seen.remove(answer)


def _code(body: bytes) -> str:
    number = int.from_bytes(body, "big")
    return CODES[number] if number < len(CODES) else str(number)

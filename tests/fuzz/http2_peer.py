"""What a peer of HTTP/2 may send: frames that get deep into a connection because they fit it, and frames that break one
rule."""

from muxpy.frame.http2 import PREFACE
from tests.frame.http2 import wire
from tests.frame.http2.wire import END_HEADERS, END_STREAM, frame, padded

from .script import Script

__all__ = ["BEGIN", "NUMBERS", "Peer"]

NUMBERS = (0, 1, 2, 3, 8, 99, 4096, 16384, 16385, 65535, 65536, 0x7FFF0000, 0x7FFFFFFF, 0x80000000)
SIZES = (0, 1, 2, 9, 100, 4095, 9000, 16383, 16384)
PAYLOAD = bytes(range(256)) * 64
BEGIN = PREFACE + frame(wire.SETTINGS, 0)


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A field; `first` 0x40 for one that goes into the table."""
    return bytes([first, len(name)]) + name + bytes([len(value)]) + value


GET = b"\x82\x86\x84" + literal(b":authority", b"a")
POST = b"\x83\x86\x84" + literal(b":authority", b"a")
CONNECT = literal(b":method", b"CONNECT") + literal(b":authority", b"a:1")
REQUESTS = (
    GET,
    POST,
    POST + literal(b"content-length", b"100"),
    POST + literal(b"expect", b"100-continue"),
    GET + literal(b"priority", b"u=1"),
    CONNECT,
    GET + literal(b"x-kept", b"in the table", 0x40),
    GET + b"\xbe",  # the newest of the table
    GET + literal(b"X", b""),
    GET + literal(b"connection", b"close"),
    GET + literal(b"x-large", bytes(127)) * 6,
    b"\x20" + GET,
    b"\x82",
    b"",
)
RESPONSES = (
    b"\x88",
    b"\x88" + literal(b"content-length", b"100"),
    literal(b":status", b"103"),
    b"\x89",  # 204
    b"\x8b",  # 304
    b"\x8d",  # 404
    literal(b":status", b"101"),
    b"\x88" + literal(b"x-kept", b"in the table", 0x40),
)
TRAILERS = (literal(b"x-check", b"1"), literal(b":path", b"/"), b"\xbe", b"\xff\xff\xff\xff\xff\xff")


class Peer:
    """Makes frames as the script says. It knows which ids it has used, so that it can go on in order."""

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self._next_id = 1 if client else 2
        self._makers = (
            self._data,
            self._head,
            self._window,
            self._reset,
            self._data,
            self._trailers,
            self._settings,
            self._ping,
            self._goaway,
            self._priority,
            self._push,
            self._any_frame,
            self._anything,
        )

    def frame(self, script: Script) -> bytes:
        """The next frame, or what is not quite one."""
        return script.pick(self._makers)(script)

    def _id(self, script: Script) -> int:
        """One of the ids in use most often."""
        number = script.byte()
        return number % 16 if number < 250 else script.word() & 0x7FFFFFFF

    @staticmethod
    def _number(script: Script) -> int:
        number = script.byte()
        return NUMBERS[number % len(NUMBERS)] if number < 240 else script.word()

    def _new_id(self, script: Script) -> int:
        number = script.byte()
        if number >= 240 or not self._client:
            return number % 16
        stream_id = self._next_id + 2 * (number % 16 == 15)
        self._next_id = stream_id + 2
        return stream_id

    def _head(self, script: Script) -> bytes:
        flags, stream_id = script.byte(), self._new_id(script)
        return self._block(stream_id, script.pick(REQUESTS if self._client else RESPONSES), flags)

    def _trailers(self, script: Script) -> bytes:
        return self._block(self._id(script), script.pick(TRAILERS), script.byte() ^ 1)

    def _block(self, stream_id: int, block: bytes, flags: int) -> bytes:
        end = END_STREAM if flags & 1 else 0
        if flags & 6 == 6:  # in two frames, or without the second
            rest = frame(wire.CONTINUATION, stream_id, block[1:], flags=END_HEADERS) if flags & 8 else b""
            return frame(wire.HEADERS, stream_id, block[:1], flags=end) + rest
        if flags & 24 == 24:
            own = (stream_id if flags & 32 else 0).to_bytes(4, "big") + b"\x10"
            return frame(wire.HEADERS, stream_id, own + block, flags=end | END_HEADERS | wire.HAS_PRIORITY)
        return frame(wire.HEADERS, stream_id, block, flags=end | END_HEADERS)

    def _data(self, script: Script) -> bytes:
        size = script.byte()
        flags = END_STREAM if size & 1 else 0
        payload = PAYLOAD[: SIZES[(size >> 1) % len(SIZES)]]
        if size > 200:
            return padded(wire.DATA, self._id(script), payload[:4000], size & 0x7F, flags=flags)
        return frame(wire.DATA, self._id(script), payload, flags=flags)

    def _reset(self, script: Script) -> bytes:
        return frame(wire.RST_STREAM, self._id(script), self._number(script).to_bytes(4, "big"))

    def _window(self, script: Script) -> bytes:
        return frame(wire.WINDOW_UPDATE, self._id(script), (self._number(script) & 0x7FFFFFFF).to_bytes(4, "big"))

    def _settings(self, script: Script) -> bytes:
        count = script.byte()
        if count >= 240:
            return frame(wire.SETTINGS, 0, flags=wire.ACK)
        entries = [
            (script.byte() % 10).to_bytes(2, "big") + self._number(script).to_bytes(4, "big") for _ in range(count % 4)
        ]
        return frame(wire.SETTINGS, 0, b"".join(entries))

    def _ping(self, script: Script) -> bytes:
        answer = script.flag()
        return frame(wire.PING, 0, script.byte().to_bytes(8, "big"), flags=wire.ACK if answer else 0)

    def _goaway(self, script: Script) -> bytes:
        numbers = self._number(script) & 0x7FFFFFFF, self._number(script)
        return frame(wire.GOAWAY, 0, b"".join(n.to_bytes(4, "big") for n in numbers) + script.some(script.byte() % 9))

    def _priority(self, script: Script) -> bytes:
        if script.flag():
            return frame(wire.PRIORITY, self._id(script), self._id(script).to_bytes(4, "big") + b"\x01")
        return frame(
            wire.PRIORITY_UPDATE, 0, self._id(script).to_bytes(4, "big") + script.pick((b"u=0", b"u=7, i", b""))
        )

    def _push(self, script: Script) -> bytes:
        return frame(wire.PUSH_PROMISE, self._id(script), self._id(script).to_bytes(4, "big") + GET, flags=END_HEADERS)

    def _any_frame(self, script: Script) -> bytes:
        kind, flags = script.byte(), script.byte()
        length = None if flags & 16 else script.byte()
        return frame(kind % 12, self._id(script), script.some(script.byte() % 24), flags=flags, length=length)

    def _anything(self, script: Script) -> bytes:
        return script.some(script.byte() % 48)

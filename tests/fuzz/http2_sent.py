"""An account of the frames that a connection of HTTP/2 writes: each must be legal for what was written before it."""

from muxpy.frame.http2 import PREFACE, HpackDecoder
from tests.frame.http2.wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

__all__ = ["Sent"]

OF_CONNECTION = (GOAWAY, PING, SETTINGS)


class Sent:
    """Checks the frames that are written, one by one. `errors`: codes of GOAWAYs that say one."""

    def __init__(self, *, client: bool) -> None:
        self.errors: list[int] = []
        self._client = client
        self._preface = client
        self._begun = False
        self._last_id = -1 if client else 0  # that this side has opened
        self._answered: set[int] = set()
        self._finished: set[int] = set()
        self._reset: set[int] = set()
        self._hpack = HpackDecoder()
        self._block = b""

    def put(self, written: bytes) -> None:
        """Take whole frames."""
        if self._preface and written:
            assert written.startswith(PREFACE)
            self._preface, written = False, written[len(PREFACE) :]
        while written:
            size = int.from_bytes(written[:3], "big")
            kind, flags, stream_id = written[3], written[4], int.from_bytes(written[5:9], "big")
            body, written = written[9 : 9 + size], written[9 + size :]
            assert len(body) == size, "a frame is not whole"
            self._check(kind, flags, stream_id, body)

    def _check(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        assert not self.errors or kind in (DATA, RST_STREAM, WINDOW_UPDATE), "news after the GOAWAY of an error"
        assert (stream_id == 0) == (kind in OF_CONNECTION) or kind == WINDOW_UPDATE
        if not self._begun and kind != GOAWAY:  # a stranger is told nothing else
            assert kind == SETTINGS, "the first frame is not SETTINGS"
            self._begun = True
        if kind == GOAWAY:
            self.errors += filter(None, [int.from_bytes(body[4:8], "big")])
        elif kind in (HEADERS, PUSH_PROMISE, CONTINUATION):
            self._check_head(kind, flags, stream_id, body)
        elif kind == DATA:
            assert stream_id in self._answered, "data before a head"
            self._check_open(stream_id)
        elif kind == RST_STREAM:
            self._reset.add(stream_id)  # again, if the peer breaks rules for a stream that was reset
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self._finished.add(stream_id)

    def _check_open(self, stream_id: int) -> None:
        assert stream_id not in self._finished, "something after the end"
        assert stream_id not in self._reset, "something after a reset"

    def _check_head(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        if kind == PUSH_PROMISE:
            promised = int.from_bytes(body[:4], "big")
            assert promised > self._last_id
            self._last_id, body = promised, body[4:]
        elif kind == HEADERS:
            self._check_open(stream_id)
            if self._client and stream_id > self._last_id:
                self._last_id = stream_id
        self._block += body
        if flags & END_HEADERS:
            fields = self._hpack.decode(self._block).fields
            self._block = b""
            assert fields or kind == HEADERS
            if kind == HEADERS and (self._client or not fields or fields[0][1][:1] != b"1"):
                self._answered.add(stream_id)

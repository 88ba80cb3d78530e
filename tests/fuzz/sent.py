"""An account of the frames that a connection writes: each must be legal for what was written before it."""

from tests.frame import wire
from tests.frame.wire import DATA, FIN, GOAWAY, RST, SYN, WND_INC, Frame

__all__ = ["Sent"]


class Sent:
    """Checks the frames that are written, one by one; only GOAWAYs are kept.

    `first_id`: the first that this side may open.
    """

    def __init__(self, first_id: int) -> None:
        self.goaways: list[Frame] = []
        self._last_id = first_id - 2
        self._finished: set[int] = set()
        self._reset: set[int] = set()
        self._failed = False

    def put(self, written: bytes) -> None:
        """Take whole frames."""
        for frame in wire.split(written):
            self._check(frame)

    def _check(self, frame: Frame) -> None:
        stream_id = frame.stream_id
        assert (stream_id == 0) == (frame.kind == GOAWAY)
        if frame.kind == SYN:
            assert not self._failed, "a stream was opened after the GOAWAY of an error"
            assert stream_id > self._last_id
            assert not (stream_id ^ self._last_id) & 1
            self._last_id = stream_id
        elif frame.kind == GOAWAY:
            assert not self._failed, "GOAWAY of an error was not the last one"
            self.goaways.append(frame)
            self._failed = frame.body[4:8] != bytes(4)
        elif frame.kind == DATA:
            assert stream_id not in self._finished, "data after FIN"
            assert stream_id not in self._reset, "data after RST"
        elif frame.kind == WND_INC:
            # It may follow an RST that was the answer to data for a stream which had ended: the peer ignores it.
            assert 0 < frame.number <= 0x7FFFFFFF
        else:
            assert frame.kind == RST
            self._reset.add(stream_id)
        if frame.kind in (SYN, DATA) and frame.flags & FIN:
            self._finished.add(stream_id)

"""What a peer may send: frames that get deep into a session because they fit it, and frames that break one rule."""

from tests.frame import wire
from tests.frame.wire import EXTENSION, WINDOW

from .script import Script

__all__ = ["Peer"]

NUMBERS = (0, 1, 2, 7, 8, 99, 4096, 16383, 16384, WINDOW - 1, WINDOW, WINDOW + 1, 0x7FFF0000, 0x7FFFFFFF, 0x80000000)
SIZES = (0, 1, 2, 9, 100, 4095, 4097, 9000, 16382, 16383)
TYPES = (0, 0, 5, EXTENSION - 1, EXTENSION, EXTENSION + 1)
PAYLOAD = bytes(range(256)) * 64


class Peer:
    """Makes frames as the script says. It knows which ids it has used, so that it can go on in order."""

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._makers = (
            self._data,
            self._syn,
            self._wnd_inc,
            self._rst,
            self._data,
            self._goaway,
            self._go_peers_goaway,
            self._any_frame,
            self._anything,
        )

    def frame(self, script: Script) -> bytes:
        """The next frame, or what is not quite one."""
        return script.pick(self._makers)(script)

    def _id(self, script: Script) -> int:
        """One of the ids in use most often."""
        number = script.byte()
        return number % 16 if number < 250 else script.word()

    def _new_id(self, script: Script) -> int:
        """The next one most often."""
        number = script.byte()
        if number >= 240:
            return self._id(script)
        stream_id = self._next_id + 2 * (number % 16 == 15)
        self._next_id = stream_id + 2
        return stream_id

    @staticmethod
    def _number(script: Script) -> int:
        number = script.byte()
        return NUMBERS[number % len(NUMBERS)] if number < 240 else script.word()

    def _syn(self, script: Script) -> bytes:
        flags = script.byte()
        return wire.syn(
            self._new_id(script),
            priority=self._number(script) if flags & 2 else None,
            stream_type=script.pick(TYPES) if flags & 4 else None,
            fin=bool(flags & 1),
        )

    def _data(self, script: Script) -> bytes:
        size = script.byte()
        return wire.data(self._id(script), PAYLOAD[: SIZES[(size >> 1) % len(SIZES)]], fin=bool(size & 1))

    def _rst(self, script: Script) -> bytes:
        return wire.rst(self._id(script), self._number(script))

    def _wnd_inc(self, script: Script) -> bytes:
        return wire.wnd_inc(self._id(script), self._number(script))

    def _goaway(self, script: Script) -> bytes:
        return wire.goaway(self._number(script), self._number(script), script.some(script.byte() % 16))

    def _go_peers_goaway(self, script: Script) -> bytes:
        return wire.go_peers_goaway(self._number(script), self._number(script), script.byte())

    def _any_frame(self, script: Script) -> bytes:
        kind, flags = script.byte(), script.byte()
        length = None if flags & 8 else script.byte()
        return wire.frame(kind, self._id(script), script.some(script.byte() % 24), flags=flags, length=length)

    def _anything(self, script: Script) -> bytes:
        return script.some(script.byte() % 48)

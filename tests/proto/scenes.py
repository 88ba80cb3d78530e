"""What a stream can have been through before the frame under test."""

from collections.abc import Callable

from muxpy.proto import StreamState
from tests.frame import wire
from tests.frame.wire import CANCEL, WINDOW

from .side import Side


def peer_opened(side: Side) -> StreamState:
    return side.accept()


def we_opened(side: Side) -> StreamState:
    return side.open()


def peer_finished(side: Side) -> StreamState:
    stream = side.accept()
    side.receive(wire.data(stream.id, fin=True))
    return stream


def peer_opened_with_fin(side: Side) -> StreamState:
    return side.accept(fin=True)


def we_finished(side: Side) -> StreamState:
    stream = side.open()
    side.core.finish(stream)
    return stream


def we_opened_with_fin(side: Side) -> StreamState:
    return side.open(fin=True)


def we_closed(side: Side) -> StreamState:
    stream = side.accept()
    side.core.close(stream)
    return stream


def both_finished(side: Side) -> StreamState:
    stream = peer_finished(side)
    side.core.finish(stream)
    return stream


def we_reset(side: Side) -> StreamState:
    stream = side.accept()
    side.core.reset(stream, CANCEL)
    return stream


def peer_reset(side: Side) -> StreamState:
    stream = side.accept()
    side.receive(wire.rst(stream.id, CANCEL))
    return stream


def window_full(side: Side) -> StreamState:
    stream = side.accept()
    for _ in range(4):
        side.receive(wire.data(stream.id, bytes(WINDOW // 4 - 1)))
    side.receive(wire.data(stream.id, bytes(4)))
    return stream


Scene = Callable[[Side], StreamState]
ANY_STREAM = [
    peer_opened,
    we_opened,
    peer_finished,
    we_finished,
    we_closed,
    both_finished,
    we_reset,
    peer_reset,
    window_full,
]
LIVE = [peer_opened, we_opened, peer_finished, we_finished, we_closed, window_full]
ENDED = [both_finished, we_reset, peer_reset]

"""Frames for streams that are over: late ones are ignored, and those that cannot be late are errors."""

from __future__ import annotations

import pytest

from muxpy import http
from muxpy.frame.http2 import Http2Code
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame

from .side import Side


def rst(stream_id: int, code: Http2Code) -> bytes:
    return frame(wire.RST_STREAM, stream_id, code.to_bytes(4, "big"))


@pytest.fixture
def side() -> Side:
    side = Side()
    side.begin()
    return side


@pytest.fixture
def reset_here(side: Side) -> Side:
    """Stream 1 was reset by this side."""
    side.open(1)
    side.receive(frame(wire.WINDOW_UPDATE, 1, bytes(4)))
    assert side.sent() == rst(1, Http2Code.PROTOCOL_ERROR)
    return side


LATE = [frame(wire.DATA, 1, b"x"), frame(wire.HEADERS, 1, flags=wire.END_HEADERS | wire.END_STREAM)]


@pytest.mark.parametrize("late", LATE, ids=["data", "headers"])
def test_what_crosses_a_reset_is_ignored(reset_here: Side, late: bytes) -> None:
    reset_here.receive(late)
    assert reset_here.sent() == b""


@pytest.mark.parametrize("late", LATE, ids=["data", "headers"])
def test_nothing_is_late_after_the_own_reset_of_the_peer(reset_here: Side, late: bytes) -> None:
    reset_here.receive(rst(1, Http2Code.CANCEL), late)
    assert reset_here.sent() == rst(1, Http2Code.STREAM_CLOSED)


def test_a_frame_in_pieces_is_answered_once() -> None:
    side = Side(config=http.Config(reset_burst=1, reset_rate=1.0))
    side.begin()
    side.open(1)
    late = frame(wire.DATA, 1, b"xyz")
    side.receive(rst(1, Http2Code.CANCEL), late[:10])
    for byte in late[10:]:
        side.receive(bytes([byte]))
    assert side.core.error is None
    assert side.sent() == rst(1, Http2Code.STREAM_CLOSED)


PRIORITIES = [(5, Http2Code.PROTOCOL_ERROR, b"\0\0\0\x01\0"), (4, Http2Code.FRAME_SIZE_ERROR, bytes(4))]


@pytest.mark.parametrize(("_", "code", "body"), PRIORITIES, ids=["itself", "short"])
def test_a_wrong_priority_resets_a_stream_that_lives_or_has_ended(
    side: Side, _: int, code: Http2Code, body: bytes
) -> None:
    side.open(1)
    side.receive(frame(wire.PRIORITY, 1, body))
    assert side.sent() == rst(1, code)
    side.open(5)
    side.receive(frame(wire.PRIORITY, 3, body.replace(b"\x01", b"\x03")))  # skipped, so it is closed
    assert side.sent() == rst(3, code)


@pytest.mark.parametrize(("_", "code", "body"), PRIORITIES, ids=["itself", "short"])
def test_a_wrong_priority_for_an_idle_stream_ends_the_connection(
    side: Side, _: int, code: Http2Code, body: bytes
) -> None:
    side.receive(frame(wire.PRIORITY, 1, body))
    assert side.core.error is not None
    assert side.core.error.code is code


@pytest.mark.parametrize(("_", "code", "body"), PRIORITIES, ids=["itself", "short"])
def test_a_wrong_priority_is_wrong_also_where_it_crosses_a_reset(
    reset_here: Side, _: int, code: Http2Code, body: bytes
) -> None:
    reset_here.receive(frame(wire.PRIORITY, 1, body))
    assert reset_here.sent() == rst(1, code)


def test_a_priority_for_the_connection_ends_it(side: Side) -> None:
    side.receive(frame(wire.PRIORITY, 0, b"\0\0\0\x01\0"))
    assert side.core.error is not None
    assert side.core.error.code is Http2Code.PROTOCOL_ERROR


def test_after_an_error_of_the_connection_streams_end_without_a_word(side: Side) -> None:
    side.open(1)
    (stream,) = side.core.streams.values()
    side.receive(frame(wire.DATA, 0))
    assert side.sent()[3] == wire.GOAWAY
    side.core.reset(stream, Http2Code.CANCEL)
    assert side.sent() == b""

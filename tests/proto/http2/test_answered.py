"""Requests that were answered before their end: what still comes is judged, and nobody waits for it long."""

from __future__ import annotations

from typing import Any

import pytest

from muxpy import http
from muxpy.frame.http2 import Http2Code
from muxpy.proto.http2 import HttpStream
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame

from .side import REQUEST, Side

ANSWER = ((b":status", b"200"),)


def rst(stream_id: int, code: Http2Code) -> bytes:
    return frame(wire.RST_STREAM, stream_id, code.to_bytes(4, "big"))


@pytest.fixture
def side() -> Side:
    side = Side()
    side.begin()
    return side


def answer(side: Side, stream_id: int) -> HttpStream:
    """Open a stream, have it answered, and close it."""
    side.open(stream_id)
    stream = side.core.streams[stream_id]
    side.core.accepted(stream)
    finish(side, stream)
    return stream


def finish(side: Side, stream: HttpStream) -> None:
    side.core.send_head(stream, ANSWER, end=True)
    side.core.close(stream)
    assert side.sent()[3:5] == bytes((wire.HEADERS, wire.END_HEADERS | wire.END_STREAM))


def test_the_end_of_the_request_needs_no_answer(side: Side) -> None:
    answer(side, 1)
    assert side.core.open_streams == 0
    side.receive(frame(wire.DATA, 1, b"x", flags=wire.END_STREAM))
    assert side.sent() == b""
    assert side.core.streams == {}


def test_an_end_in_pieces_needs_none_either(side: Side) -> None:
    answer(side, 1)
    late = frame(wire.DATA, 1, bytes(100), flags=wire.END_STREAM)
    for at in range(0, len(late), 7):
        side.receive(late[at : at + 7])
    assert side.sent() == b""
    assert side.core.streams == {}


def test_more_of_it_is_thrown_away_for_a_second(side: Side) -> None:
    """curl loses a response that is followed by a reset in the same moment."""
    stream = answer(side, 1)
    before = stream.incoming.available
    side.receive(frame(wire.DATA, 1, b"x"), frame(wire.DATA, 1, b"y"))
    assert side.sent() == b""
    assert (stream.incoming.available, stream.incoming.buffered) == (before - 2, 0)
    assert side.core.patience.end_requests(1.0)
    assert side.sent() == rst(1, Http2Code.NO_ERROR)
    assert side.core.streams == {}


def test_so_is_what_had_come_before(side: Side) -> None:
    side.open(1)
    stream = side.core.streams[1]
    side.receive(frame(wire.DATA, 1, b"x"))
    side.core.send_head(stream, ANSWER, end=True)
    side.core.close(stream)
    assert rst(1, Http2Code.NO_ERROR) not in side.sent()
    assert stream.incoming.buffered == 0
    assert side.core.patience.end_requests(1.0)
    assert side.sent() == rst(1, Http2Code.NO_ERROR)


def test_a_body_that_is_longer_than_it_should_be_is_still_an_error(side: Side) -> None:
    stream = answer(side, 1)
    stream.expected = 3
    side.receive(frame(wire.DATA, 1, b"four", flags=wire.END_STREAM))
    assert side.sent() == rst(1, Http2Code.PROTOCOL_ERROR)


def test_a_frame_is_judged_when_all_of_it_has_come(side: Side) -> None:
    answer(side, 1).expected = 3
    late = frame(wire.DATA, 1, b"four")
    for at in range(len(late)):
        assert side.sent() == b""
        side.receive(late[at : at + 1])
    assert side.sent() == rst(1, Http2Code.PROTOCOL_ERROR)


def test_a_window_that_is_exceeded_is_still_an_error(side: Side) -> None:
    answer(side, 1).incoming.available = 3
    side.receive(frame(wire.DATA, 1, b"four", flags=wire.END_STREAM))
    assert side.sent() == rst(1, Http2Code.FLOW_CONTROL_ERROR)


def test_silence_is_told_to_stop_after_a_second(side: Side) -> None:
    answer(side, 1)
    side.now = 0.5
    answer(side, 3)
    assert not side.core.patience.end_requests(0.9)
    assert side.sent() == b""
    assert side.core.patience.end_requests(1.4)
    assert side.sent() == rst(1, Http2Code.NO_ERROR)
    assert list(side.core.streams) == [3]
    assert side.core.patience.end_requests(1.5)
    assert not side.core.patience.end_requests(9.0)


def test_those_that_wait_keep_their_places() -> None:
    side = Side(config=http.Config(max_streams=3))
    side.begin()
    for stream_id in (1, 3, 5):
        answer(side, stream_id)
    side.receive(frame(wire.HEADERS, 7, REQUEST, flags=wire.END_HEADERS | wire.END_STREAM))
    assert side.sent() == rst(7, Http2Code.REFUSED_STREAM)
    side.receive(frame(wire.DATA, 3, flags=wire.END_STREAM))
    side.open(9, end=True)


def test_the_connection_may_end_meanwhile(side: Side) -> None:
    answer(side, 1)
    assert side.core.receive_eof()


def test_a_response_whose_end_is_on_its_way_has_left_its_place() -> None:
    """The client may have read the end, and ask for more, before the sender's task has run again."""
    side = Side(config=http.Config(max_streams=1))
    side.begin()
    side.open(1, end=True)
    stream = side.core.streams[1]
    side.core.send_head(stream, ((b":status", b"200"),))
    side.core.sending.submit(stream, memoryview(bytes(20_000)), end=True)
    assert side.sent().endswith(bytes(10))
    side.open(3, end=True)
    side.receive(frame(wire.HEADERS, 5, REQUEST, flags=wire.END_HEADERS | wire.END_STREAM))
    assert side.sent() == rst(5, Http2Code.REFUSED_STREAM)


def test_handlers_that_have_answered_and_not_returned_leave_room() -> None:
    """As many as there are places: the client has read their answers, and uses the places again."""
    side = Side(config=http.Config(max_streams=2))
    side.begin()
    streams = []
    for stream_id in (1, 3, 5, 7):
        side.open(stream_id, end=True)
        stream = side.core.streams[stream_id]
        side.core.accepted(stream, hold=True)
        assert side.core.respond(stream, ((b":status", b"200"),), b"")
        assert side.sent()
        streams.append(stream)
    side.receive(frame(wire.HEADERS, 9, REQUEST, flags=wire.END_HEADERS | wire.END_STREAM))
    assert side.sent() == rst(9, Http2Code.REFUSED_STREAM)
    side.core.let_go(streams[0])
    side.open(11, end=True)


def test_handlers_whose_requests_were_reset_leave_none() -> None:
    side = Side(config=http.Config(max_streams=2))
    side.begin()
    for stream_id in (1, 3):
        side.open(stream_id)
        side.core.accepted(side.core.streams[stream_id], hold=True)
        side.receive(rst(stream_id, Http2Code.CANCEL))
    side.receive(frame(wire.HEADERS, 5, REQUEST, flags=wire.END_HEADERS | wire.END_STREAM))
    assert side.sent() == rst(5, Http2Code.REFUSED_STREAM)


class Walked(dict[int, HttpStream]):
    """Streams, and how often somebody has gone through them."""

    times = 0

    def values(self) -> Any:  # noqa: ANN401 - a class that has no public name
        self.times += 1
        return super().values()


def test_requests_past_the_limit_cost_one_look_at_all_streams_for_each_read() -> None:
    side = Side(config=http.Config(max_streams=8))
    side.begin()
    for stream_id in range(1, 17, 2):
        side.open(stream_id)
    streams = side.core._table.live = Walked(side.core._table.live)
    head = wire.END_HEADERS | wire.END_STREAM
    side.receive(*(frame(wire.HEADERS, stream_id, REQUEST, flags=head) for stream_id in range(17, 617, 2)))
    assert side.sent() == b"".join(rst(stream_id, Http2Code.REFUSED_STREAM) for stream_id in range(17, 617, 2))
    assert streams.times == 1


@pytest.mark.parametrize("later", [False, True], ids=["before_a_refusal", "after_one"])
def test_a_response_whose_end_is_on_its_way_has_left_its_place_when_the_request_ends(later: bool) -> None:
    """Also if a request was refused just before that, in the same read."""
    side = Side(config=http.Config(max_streams=1))
    side.begin()
    side.open(1)
    [stream] = side.core.streams.values()
    side.core.accepted(stream, hold=True)
    side.core.send_head(stream, ANSWER)
    assert side.core.sending.submit_small(stream, b"answer", True)
    side.sent()
    end = frame(wire.DATA, 1, b"", flags=wire.END_STREAM)
    first, second = (
        frame(wire.HEADERS, stream_id, REQUEST, flags=wire.END_HEADERS | wire.END_STREAM) for stream_id in (3, 5)
    )
    side.receive(first, end, second) if later else side.receive(end, first)
    assert side.sent() == (rst(3, Http2Code.REFUSED_STREAM) if later else b"")
    assert set(side.core.streams) == {1, 5 if later else 3}

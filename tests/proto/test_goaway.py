"""GOAWAY, both ways."""

from collections.abc import Callable

import pytest

from muxpy import ErrorCode
from muxpy.proto import Phase, RemoteGoAway
from tests.frame import wire
from tests.frame.wire import CANCEL, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM

from .side import Side

# ---- ours ----


def test_goaway_names_the_last_id_seen(side: Side) -> None:
    side.receive(wire.syn(side.theirs), wire.syn(side.theirs + 2))
    assert side.core.go_away(NO_ERROR, b"bye")
    assert side.sent() == wire.goaway(side.theirs + 2, NO_ERROR, b"bye")
    assert side.core.goaway_sent


def test_goaway_before_any_stream_names_id_0(side: Side) -> None:
    side.core.go_away(99)
    assert side.sent() == wire.goaway(0, 99)


def test_goaway_is_said_once(side: Side) -> None:
    assert side.core.go_away(NO_ERROR)
    assert not side.core.go_away(PROTOCOL_ERROR, b"again")
    assert side.sent() == wire.goaway(0)


def test_its_debug_text_is_cut(side: Side) -> None:
    side.core.go_away(NO_ERROR, b"x" * 5000)
    assert side.sent() == wire.goaway(0, NO_ERROR, b"x" * 1024)


def test_a_stream_after_our_goaway_is_refused_and_its_id_counts_as_seen(side: Side) -> None:
    side.core.go_away(NO_ERROR)
    side.sent()
    assert side.receive(wire.syn(side.theirs)).opened == []
    assert side.sent() == wire.rst(side.theirs, REFUSED_STREAM)
    assert side.core.streams == {}

    side.receive(wire.data(side.theirs, b"crossed"), wire.data(side.theirs, fin=True))
    assert side.sent() == b""

    side.receive(wire.syn(side.theirs))
    assert side.core.error is not None


def test_a_stream_that_crosses_an_announcement_is_taken_and_one_after_the_last_word_is_not(side: Side) -> None:
    assert side.core.go_away(NO_ERROR, b"soon", final=False)
    assert not side.core.go_away(NO_ERROR, final=False)
    assert side.sent() == wire.goaway(2**31 - 1, NO_ERROR, b"soon")
    assert [stream.id for stream in side.receive(wire.syn(side.theirs)).opened] == [side.theirs]

    assert side.core.go_away(NO_ERROR)
    assert not side.core.go_away(NO_ERROR, final=False)
    assert side.sent() == wire.goaway(side.theirs, NO_ERROR)
    assert side.receive(wire.syn(side.theirs + 2)).opened == []
    assert side.sent() == wire.rst(side.theirs + 2, REFUSED_STREAM)


def test_streams_that_are_open_go_on_after_our_goaway(side: Side) -> None:
    stream = side.accept()
    side.core.go_away(NO_ERROR)
    side.sent()
    side.receive(wire.data(stream.id, b"question"))
    assert side.take(stream) == b"question"
    side.submit(stream, b"answer")
    assert side.sent() == wire.data(stream.id, b"answer")


def test_a_session_error_after_our_goaway_sends_its_own(side: Side) -> None:
    side.core.go_away(NO_ERROR)
    side.sent()
    side.receive(wire.rst(0, 0))
    error = side.core.error
    assert error is not None
    assert side.sent() == wire.goaway(0, PROTOCOL_ERROR, error.reason.encode())


# ---- the peer's ----


@pytest.mark.parametrize("make", [wire.goaway, wire.go_peers_goaway], ids=["muxpy", "go"])
def test_the_peers_goaway_fails_the_streams_above_its_last_id_as_retryable(
    side: Side, make: Callable[[int, int], bytes]
) -> None:
    streams = [side.open() for _ in range(4)]
    theirs = side.accept()
    for stream in streams:
        side.submit(stream, b"data")

    changes = side.receive(make(streams[1].id, NO_ERROR), wire.data(theirs.id, b"more"))

    assert changes.reset == streams[2:]
    assert changes.readable == [theirs]
    assert not side.core.can_open
    for stream in streams[2:]:
        assert stream.phase is Phase.GONE
        assert (stream.reset_code, stream.reset_by_peer, stream.retryable) == (REFUSED_STREAM, True, True)
    assert [stream.phase for stream in (*streams[:2], theirs)] == [Phase.OPEN] * 3
    # No RST: the peer has forgotten them; and nothing of their data.
    assert side.sent() == wire.data(streams[0].id, b"data") + wire.data(streams[1].id, b"data")
    assert set(side.core.streams) == {streams[0].id, streams[1].id, theirs.id}


def test_its_code_and_debug_text_are_kept(side: Side) -> None:
    side.receive(wire.goaway(0, PROTOCOL_ERROR, b"why"))
    assert side.core.remote_goaway == RemoteGoAway(0, PROTOCOL_ERROR, b"why")
    assert side.core.error is None
    assert side.sent() == b""


@pytest.mark.parametrize("code", [8, 99, 0xFFFFFFFF])
def test_an_unknown_code_is_kept_as_a_number(side: Side, code: int) -> None:
    side.receive(wire.goaway(0, code))
    assert side.core.remote_goaway == RemoteGoAway(0, code, b"")


def test_no_more_than_1024_bytes_of_debug_text_are_kept(side: Side) -> None:
    side.receive(wire.goaway(0, 0, b"x" * 16000))
    assert side.core.remote_goaway == RemoteGoAway(0, 0, b"x" * 1024)


def test_the_peer_may_still_open_streams(side: Side) -> None:
    side.receive(wire.goaway(0))
    side.accept()
    assert side.sent() == b""


def test_a_second_goaway_may_give_up_more(side: Side) -> None:
    streams = [side.open() for _ in range(4)]
    assert side.receive(wire.goaway(streams[2].id)).reset == [streams[3]]
    assert side.receive(wire.goaway(streams[0].id, CANCEL, b"hurry")).reset == streams[1:3]
    assert side.core.remote_goaway == RemoteGoAway(streams[0].id, CANCEL, b"hurry")


def test_a_second_goaway_does_not_take_back_what_was_given_up(side: Side) -> None:
    streams = [side.open() for _ in range(2)]
    side.receive(wire.goaway(streams[0].id))
    changes = side.receive(wire.goaway(streams[1].id, PROTOCOL_ERROR, b"because"))
    assert changes.reset == []
    assert side.core.remote_goaway == RemoteGoAway(streams[0].id, PROTOCOL_ERROR, b"because")
    assert streams[1].retryable
    assert side.core.error is None


def test_frames_follow_the_go_peers_goaway_directly(side: Side) -> None:
    """What Go's GoAway() sends when traffic goes on: a length of 16 + len(debug), 8 bytes, and the next frame."""
    stream = side.accept()
    changes = side.receive(
        wire.go_peers_goaway(0, NO_ERROR, debug_length=11), wire.data(stream.id, b"and more", fin=True)
    )
    assert side.core.remote_goaway == RemoteGoAway(0, NO_ERROR, b"")
    assert changes.readable == [stream]
    assert side.take(stream) == b"and more"
    assert side.core.receive_eof()


def test_late_frames_for_a_stream_given_up_do_no_harm(side: Side) -> None:
    stream = side.open()
    side.receive(wire.goaway(0))
    side.receive(wire.rst(stream.id, REFUSED_STREAM), wire.wnd_inc(stream.id, 5))
    assert side.sent() == b""
    assert side.core.error is None
    assert stream.reset_code is ErrorCode.REFUSED_STREAM

"""Half-close, close and reset: what each does to both directions of a stream."""

import pytest

from muxpy.proto import Opening, Phase
from tests.frame import wire
from tests.frame.wire import CANCEL, REFUSED_STREAM, WINDOW

from .scenes import (
    ANY_STREAM,
    ENDED,
    LIVE,
    Scene,
    both_finished,
    peer_finished,
    peer_opened,
    peer_opened_with_fin,
    peer_reset,
    we_closed,
    we_finished,
    we_opened,
    we_opened_with_fin,
    we_reset,
)
from .side import Side


@pytest.mark.parametrize("scene", LIVE)
@pytest.mark.parametrize("code", [*range(8), 8, 99, 0xFFFFFFFF])
def test_rst_ends_both_directions_and_keeps_its_code(side: Side, scene: Scene, code: int) -> None:
    stream = scene(side)
    side.sent()
    changes = side.receive(wire.rst(stream.id, code))
    assert changes.reset == [stream]
    assert side.sent() == b""
    assert side.core.streams == {}
    assert (stream.phase, stream.reset_code, stream.reset_by_peer) == (Phase.GONE, code, True)
    assert stream.retryable == (code == REFUSED_STREAM)
    assert side.take(stream) == b""


@pytest.mark.parametrize(
    ("scene", "before", "after"),
    [
        (peer_opened, Phase.OPEN, Phase.REMOTE_DONE),
        (we_opened, Phase.OPEN, Phase.REMOTE_DONE),
        (we_finished, Phase.LOCAL_DONE, Phase.CLOSED),
        (we_opened_with_fin, Phase.LOCAL_DONE, Phase.CLOSED),
        (we_closed, Phase.CLOSING, Phase.CLOSED),
    ],
)
def test_fin_ends_the_peers_direction(side: Side, scene: Scene, before: Phase, after: Phase) -> None:
    stream = scene(side)
    side.sent()
    assert stream.phase is before
    changes = side.receive(wire.data(stream.id, fin=True))
    assert changes.readable == ([] if stream.closed else [stream])
    assert side.sent() == b""
    assert stream.phase is after
    assert stream.phase.peer_done
    assert (stream.id in side.core.streams) == (after is Phase.REMOTE_DONE)


@pytest.mark.parametrize("scene", [peer_opened, we_opened, we_finished])
def test_data_before_fin_is_read_first(side: Side, scene: Scene) -> None:
    stream = scene(side)
    frame = wire.data(stream.id, b"hello", fin=True)
    assert side.receive(frame[:10]).readable == [stream]
    assert not stream.phase.peer_done
    assert side.receive(frame[10:]).readable == [stream]
    assert stream.phase.peer_done
    assert side.take_all(stream) == b"hello"
    assert stream.incoming.buffered == 0


@pytest.mark.parametrize(
    ("scene", "before", "after"),
    [
        (peer_opened, Phase.OPEN, Phase.LOCAL_DONE),
        (we_opened, Phase.OPEN, Phase.LOCAL_DONE),
        (peer_finished, Phase.REMOTE_DONE, Phase.CLOSED),
        (peer_opened_with_fin, Phase.REMOTE_DONE, Phase.CLOSED),
    ],
)
def test_finish_sends_fin_once(side: Side, scene: Scene, before: Phase, after: Phase) -> None:
    stream = scene(side)
    assert stream.phase is before
    assert side.core.finish(stream)
    assert side.sent() == wire.data(stream.id, fin=True)
    assert stream.phase is after
    assert not stream.phase.sends
    assert (stream.id in side.core.streams) == (after is Phase.LOCAL_DONE)
    assert not side.core.finish(stream)
    assert side.sent() == b""


def test_syn_with_fin_opens_for_one_direction(side: Side) -> None:
    """The opener will send nothing and can read; the acceptor reads the end and can write."""
    ours = side.core.open(Opening(), fin=True)
    assert side.sent() == wire.syn(side.ours, fin=True)
    assert (ours.phase, ours.phase.sends, ours.phase.reads) == (Phase.LOCAL_DONE, False, True)

    theirs = side.accept(fin=True)
    assert (theirs.phase, theirs.phase.sends, theirs.phase.reads) == (Phase.REMOTE_DONE, True, False)
    assert theirs.phase.peer_done
    assert side.sent() == b""


@pytest.mark.parametrize(
    ("scene", "answer", "after"),
    [
        (peer_opened, True, Phase.CLOSING),
        (we_finished, False, Phase.CLOSING),
        (peer_finished, True, Phase.CLOSED),
        (both_finished, False, Phase.CLOSED),
        (we_closed, False, Phase.CLOSING),
        (we_reset, False, Phase.GONE),
        (peer_reset, False, Phase.GONE),
    ],
)
def test_close_sends_fin_unless_it_was_sent(side: Side, scene: Scene, answer: bool, after: Phase) -> None:
    stream = scene(side)
    side.sent()
    side.core.close(stream)
    assert side.sent() == (wire.data(stream.id, fin=True) if answer else b"")
    assert stream.phase is after
    assert (stream.id in side.core.streams) == (after is Phase.CLOSING)


def test_close_after_both_ended_drops_what_was_not_read(side: Side) -> None:
    stream = side.accept()
    side.receive(wire.data(stream.id, b"unread", fin=True))
    side.core.finish(stream)
    side.sent()
    side.core.close(stream)
    assert stream.incoming.buffered == 0
    assert side.take(stream) == b""
    assert side.sent() == b""


def test_close_after_a_send_was_cut_short_is_a_reset(side: Side) -> None:
    """A FIN would make the part look like the whole."""
    stream = side.open()
    side.submit(stream, bytes(WINDOW + 1))
    side.sent()
    side.core.sending.withdraw(stream)
    assert stream.cut_short
    side.core.close(stream)
    assert side.sent() == wire.rst(stream.id, CANCEL)
    assert stream.phase is Phase.GONE
    assert side.core.streams == {}


def test_a_send_withdrawn_before_it_began_is_cut_short_as_well(side: Side) -> None:
    """The peer would take what came before for all that there was to come."""
    stream = side.open()
    side.submit(stream, b"never mind")
    side.core.sending.withdraw(stream)
    side.core.sending.withdraw(stream)
    assert stream.cut_short
    side.core.close(stream)
    assert side.sent() == wire.rst(stream.id, 7)


@pytest.mark.parametrize("scene", LIVE)
def test_reset_ends_both_directions_at_once(side: Side, scene: Scene) -> None:
    stream = scene(side)
    side.sent()
    if stream.phase.sends:
        side.submit(stream, b"not sent any more")
    side.core.reset(stream, 99)
    assert side.sent() == wire.rst(stream.id, 99)
    assert (stream.phase, stream.reset_code, stream.reset_by_peer) == (Phase.GONE, 99, False)
    assert side.core.streams == {}
    assert stream.incoming.buffered == 0


@pytest.mark.parametrize("scene", ENDED)
def test_reset_of_an_ended_stream_does_nothing(side: Side, scene: Scene) -> None:
    stream = scene(side)
    phase, code = stream.phase, stream.reset_code
    side.sent()
    side.core.reset(stream, 99)
    assert side.sent() == b""
    assert (stream.phase, stream.reset_code) == (phase, code)


def test_reset_throws_away_what_arrives_in_the_same_read(side: Side) -> None:
    stream = side.accept()
    changes = side.receive(wire.data(stream.id, b"lost"), wire.rst(stream.id, CANCEL))
    assert changes.reset == [stream]
    assert changes.readable == []
    assert (stream.incoming.buffered, side.take(stream)) == (0, b"")


def test_a_stream_is_listed_once_whatever_came_for_it(side: Side) -> None:
    stream = side.accept()
    side.submit(stream, bytes(WINDOW))
    side.sent()
    changes = side.receive(
        wire.data(stream.id, b"one"),
        wire.wnd_inc(stream.id, 1),
        wire.data(stream.id, b"two"),
        wire.wnd_inc(stream.id, 2),
        wire.data(stream.id, fin=True),
    )
    assert changes.readable == [stream]
    assert changes.writable == [stream]
    assert side.take_all(stream) == b"onetwo"
    assert stream.send_window == 3


@pytest.mark.parametrize("scene", ANY_STREAM)
def test_goaway_that_covers_a_stream_leaves_it_alone(side: Side, scene: Scene) -> None:
    stream = scene(side)
    phase = stream.phase
    side.sent()
    changes = side.receive(wire.goaway(0x7FFFFFFF))
    assert side.core.remote_goaway is not None
    assert changes.reset == []
    assert stream.phase is phase
    assert side.sent() == b""

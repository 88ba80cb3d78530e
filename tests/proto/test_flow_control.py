"""Windows on the wire: what may be sent, what is given back, and when."""

import pytest

from muxpy.proto._outgoing import LEAST_SLIVER, SLIVER
from muxpy.proto._sending import CRUMB_WAIT
from tests.frame import wire
from tests.frame.wire import CANCEL, FLOW_CONTROL_ERROR, WINDOW

from .scenes import Scene, both_finished, peer_finished, peer_opened, we_opened, window_full
from .side import Side


@pytest.mark.parametrize("scene", [peer_opened, we_opened])
def test_each_direction_starts_with_a_window_of_65536(side: Side, scene: Scene) -> None:
    stream = scene(side)
    assert (stream.send_window, stream.incoming.available) == (WINDOW, WINDOW)


def test_never_more_than_the_window_is_sent(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(WINDOW + 1000))
    assert sum(len(frame.body) for frame in side.frames()) == WINDOW
    assert not side.core.sending.has_output

    changes = side.receive(wire.wnd_inc(stream.id, 990))
    assert changes.writable == [stream]
    assert side.sent() == b""  # a sliver of what waits

    side.receive(wire.wnd_inc(stream.id, 4000))
    assert side.sent() == wire.data(stream.id, bytes(1000))
    assert stream.send_window == 3990


def test_crumbs_of_window_are_not_sent_in_frames_of_their_own(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(3 * WINDOW))
    side.sent()
    sizes = []
    for _ in range(3 * SLIVER):
        side.receive(wire.wnd_inc(stream.id, 1))
        sizes += [len(frame.body) for frame in side.frames()]
    assert sizes == [SLIVER] * 3
    side.receive(wire.wnd_inc(stream.id, SLIVER - 1))
    assert not side.core.sending.has_output


def test_what_the_window_lets_go_whole_is_sent_however_little(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(WINDOW + 3))
    side.sent()
    for _ in range(2):
        side.receive(wire.wnd_inc(stream.id, 1))
        assert side.sent() == b""
    side.receive(wire.wnd_inc(stream.id, 1))
    assert side.sent() == wire.data(stream.id, bytes(3))
    side.receive(wire.wnd_inc(stream.id, 5))
    side.submit(stream, bytes(100))
    assert side.sent() == b""
    side.core.sending.withdraw(stream)
    side.submit(stream, bytes(5))
    assert side.sent() == wire.data(stream.id, bytes(5))


def test_a_crumb_of_window_is_used_when_no_more_comes(side: Side) -> None:
    """The peer may mean its window to be that small, or give it back only when it was used up."""
    stream = side.open()
    side.submit(stream, bytes(2 * WINDOW))
    side.sent()
    assert side.core.sending.crumbs_due is None
    side.receive(wire.wnd_inc(stream.id, 100))
    assert side.core.sending.crumbs_due == CRUMB_WAIT
    side.core.sending._send_crumbs()
    assert side.sent() == b""
    side.now = CRUMB_WAIT
    side.core.sending._send_crumbs()
    assert side.sent() == wire.data(stream.id, bytes(100))
    assert side.core.sending.crumbs_due is None


def test_a_crumb_does_not_wait_for_others_to_finish(side: Side) -> None:
    """While there is always more to write, the writer never rests."""
    crumbed, busy = side.open(), side.open()
    side.submit(crumbed, bytes(2 * WINDOW))
    side.sent()
    side.receive(wire.wnd_inc(crumbed.id, 100), wire.wnd_inc(busy.id, 10 * WINDOW))
    side.submit(busy, bytes(10 * WINDOW))
    side.core.sending.next_batch(WINDOW)
    side.now = CRUMB_WAIT
    side.core.sending.next_batch(WINDOW)
    assert crumbed.send_window == 0
    assert side.core.sending.has_output


def test_what_stands_in_line_waits_for_no_crumb(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(2 * WINDOW))
    side.core.sending.next_batch(60_000)
    assert 0 < stream.send_window < SLIVER
    side.receive(wire.wnd_inc(stream.id, 1))
    assert side.core.sending.crumbs_due is None
    assert stream.outgoing is not None
    assert stream.outgoing.blocked_since is None


@pytest.mark.parametrize(("given", "enough"), [(2048, 2048), (1, LEAST_SLIVER)])
def test_windows_that_are_always_small_do_not_wait_each_time(side: Side, given: int, enough: int) -> None:
    stream = side.open()
    side.submit(stream, bytes(2 * WINDOW))
    side.sent()
    side.receive(wire.wnd_inc(stream.id, given))
    side.now = CRUMB_WAIT
    side.core.sending._send_crumbs()
    side.sent()
    side.receive(wire.wnd_inc(stream.id, enough - 1))
    assert side.sent() == b""
    side.receive(wire.wnd_inc(stream.id, 1))
    assert side.sent() == wire.data(stream.id, bytes(enough))


def test_crumbs_that_became_more_or_that_nobody_wants_are_forgotten(side: Side) -> None:
    more, gone = side.open(), side.open()
    for stream in (more, gone):
        side.submit(stream, bytes(2 * WINDOW))
        side.sent()
        side.receive(wire.wnd_inc(stream.id, 1))
    side.receive(wire.wnd_inc(more.id, SLIVER))
    side.core.reset(gone, CANCEL)
    side.sent()
    side.now = CRUMB_WAIT
    side.core.sending._send_crumbs()
    assert side.core.sending.crumbs_due is None
    assert not side.core.sending.has_output


def test_time_spent_on_crumbs_counts_as_blocked(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(2 * WINDOW))
    side.sent()
    side.now = 1.0
    side.receive(wire.wnd_inc(stream.id, 1))
    side.now = 3.0
    side.receive(wire.wnd_inc(stream.id, SLIVER))
    assert side.core.counters.blocked_on_window == 3.0


def test_only_payload_counts_against_the_window(side: Side) -> None:
    stream = side.accept()
    side.receive(*(wire.data(stream.id, b"12") for _ in range(10)))
    assert stream.incoming.available == WINDOW - 20


def test_streams_have_windows_of_their_own(side: Side) -> None:
    first, second = side.open(), side.open()
    side.submit(first, bytes(WINDOW))
    side.sent()
    side.submit(second, b"room")
    assert side.sent() == wire.data(second.id, b"room")


def test_window_is_given_back_at_half_and_in_one_frame(side: Side) -> None:
    stream = side.accept()
    for _ in range(4):
        side.receive(wire.data(stream.id, bytes(16000)))
    assert len(side.take(stream, 30_000)) <= 30_000
    while stream.incoming.buffered > 64_000 - WINDOW // 2 + 1:
        side.take(stream, stream.incoming.buffered - (64_000 - WINDOW // 2 + 1))
    assert side.sent() == b""
    side.take(stream, 1)
    assert side.sent() == wire.wnd_inc(stream.id, WINDOW // 2)


def test_window_updates_that_wait_are_merged(side: Side) -> None:
    stream = side.accept()
    total = 0
    for _ in range(3):
        for _ in range(2):
            side.receive(wire.data(stream.id, bytes(16384 - 1)))
        side.receive(wire.data(stream.id, bytes(2)))
        total += len(side.take_all(stream))
    assert side.core.sending.outbox.control_frames == 1
    assert side.sent() == wire.wnd_inc(stream.id, total)


@pytest.mark.parametrize("scene", [peer_finished, both_finished])
def test_no_window_is_given_to_a_peer_that_ended(side: Side, scene: Scene) -> None:
    stream = side.accept()
    for _ in range(4):
        side.receive(wire.data(stream.id, bytes(16383)))
    side.receive(wire.data(stream.id, fin=True))
    if scene is both_finished:
        side.core.finish(stream)
        side.sent()
    assert len(side.take_all(stream)) == 4 * 16383
    assert side.sent() == b""


def test_a_reset_takes_back_a_window_update_that_waits(side: Side) -> None:
    stream = window_full(side)
    side.take_all(stream)
    side.core.reset(stream, CANCEL)
    assert side.sent() == wire.rst(stream.id, CANCEL)


def test_data_past_the_window_is_refused_before_any_of_it_is_kept(side: Side) -> None:
    stream = side.accept()
    for _ in range(4):
        side.receive(wire.data(stream.id, bytes(16383)))
    changes = side.receive(wire.data(stream.id, bytes(5))[:9])  # 4 are left: its header says enough
    assert side.sent() == wire.rst(stream.id, FLOW_CONTROL_ERROR)
    assert changes.reset == [stream]
    assert stream.incoming.buffered == 0


def test_data_that_fills_the_window_exactly_is_taken(side: Side) -> None:
    stream = window_full(side)
    assert side.sent() == b""
    assert (stream.incoming.buffered, stream.incoming.available) == (WINDOW, 0)
    side.receive(wire.data(stream.id))  # an empty frame takes no window
    side.receive(wire.data(stream.id, fin=True))
    assert side.sent() == b""
    assert stream.phase.peer_done


def test_a_window_may_be_lifted_to_its_limit_exactly(side: Side) -> None:
    stream = side.open()
    changes = side.receive(wire.wnd_inc(stream.id, 0x7FFFFFFF - WINDOW))
    assert changes.writable == []  # it had window before
    assert side.sent() == b""
    assert stream.send_window == 0x7FFFFFFF
    side.receive(wire.wnd_inc(stream.id, 1))
    assert side.sent() == wire.rst(stream.id, FLOW_CONTROL_ERROR)


def test_fin_is_sent_with_a_window_of_zero(side: Side) -> None:
    stream = side.open()
    side.submit(stream, bytes(WINDOW))
    assert sum(len(frame.body) for frame in side.frames()) == WINDOW
    assert stream.send_window == 0
    assert side.core.finish(stream)
    assert side.sent() == wire.data(stream.id, fin=True)


def test_close_drops_what_was_not_read_and_lets_a_waiting_peer_learn_of_it(side: Side) -> None:
    stream = window_full(side)
    side.core.close(stream)
    assert stream.incoming.buffered == 0
    # Without the window the peer would wait for ever, and never hear our CANCEL.
    assert side.sent() == wire.data(stream.id, fin=True) + wire.wnd_inc(stream.id, WINDOW)
    side.receive(wire.data(stream.id, b"more"))
    assert side.sent() == wire.rst(stream.id, CANCEL)

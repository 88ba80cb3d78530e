"""Receive windows: when the peer is told of more, and when a window grows; with a clock driven by hand."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from muxpy import SessionConfig
from muxpy.proto._window import REACTION, RTT_EPOCH, Budget, ReceiveWindow, RoundTrip
from tests.frame import wire

from .link import STEP, Link, consume
from .side import Side

WINDOW = 65536
MIB = 1024 * 1024
RTT = 0.1
PLENTY = SessionConfig(max_window=32 * MIB, receive_budget=64 * MIB)


# ---- what is given back ----


def test_window_is_given_back_at_half() -> None:
    window, budget = ReceiveWindow(), Budget(PLENTY)
    window.available = 0
    assert consume(window, WINDOW // 2 - 1, 0.0, budget) == 0
    assert window.available == 0
    assert consume(window, 1, 0.0, budget) == WINDOW // 2
    assert (window.available, window.owed) == (WINDOW // 2, 0)


def test_all_that_was_consumed_is_given_back_at_once() -> None:
    window, budget = ReceiveWindow(), Budget(PLENTY)
    window.available = 0
    assert consume(window, WINDOW, 0.0, budget) == WINDOW
    assert window.available == WINDOW


def test_a_peer_whose_data_is_consumed_has_always_half_a_window() -> None:
    window, budget = ReceiveWindow(), Budget(PLENTY)
    for size in (1, 100, 16383, 5, 16383, 16383, 1, 32767, 2, 30000, 65536, 7):
        size = min(size, window.available)
        window.available -= size
        consume(window, size, 0.0, budget)
        assert window.available + window.owed == WINDOW
        assert window.available > WINDOW // 2


# ---- growth ----


@pytest.mark.parametrize("heartbeat", [3.0, None], ids=["heartbeat", "echo_alone"])
def test_a_window_that_limits_the_peer_doubles_up_to_max_window(heartbeat: float | None) -> None:
    """Once or twice a round trip."""
    link = Link(rtt=RTT, config=SessionConfig(max_window=2 * MIB))
    link.run(5.0, heartbeat=heartbeat)
    assert set(link.sizes) <= {WINDOW << doubling for doubling in range(6)}
    assert all(before < after <= 4 * before for before, after in pairwise(link.sizes))
    assert link.window.size == 2 * MIB
    assert link.budget.left == SessionConfig().receive_budget - (2 * MIB - WINDOW)


@pytest.mark.parametrize("rtt", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("heartbeat", [3.0, None], ids=["heartbeat", "echo_alone"])
def test_a_window_follows_a_fast_link_within_ten_round_trips(rtt: float, heartbeat: float | None) -> None:
    """1 Gbit/s: nine tenths of it, in the eleventh round trip and from then on."""
    link = Link(rtt=rtt, rate=125e6, config=PLENTY)
    link.run(10.5 * rtt, heartbeat=heartbeat)
    for _ in range(5):
        before = link.delivered
        link.run(10 * rtt, heartbeat=heartbeat)
        assert link.delivered - before > 0.9 * 125e6 * 10 * rtt


def test_throughput_is_no_longer_held_to_a_window_a_round_trip() -> None:
    fixed = Link(rtt=RTT, config=SessionConfig(receive_budget=0))
    growing = Link(rtt=RTT, config=PLENTY)
    for link in (fixed, growing):
        link.run(5.0, heartbeat=3.0)
    assert fixed.sizes == [WINDOW]
    assert fixed.delivered == pytest.approx(5.0 / RTT * WINDOW, rel=0.1)
    assert growing.delivered > 50 * fixed.delivered


def test_growth_stops_at_max_window_even_if_it_is_no_power_of_two() -> None:
    link = Link(rtt=RTT, config=SessionConfig(max_window=200_000))
    link.run(5.0, heartbeat=3.0)
    assert link.window.size == max(link.sizes) == 200_000


def test_growth_stops_when_the_budget_is_used_up() -> None:
    link = Link(rtt=RTT, config=SessionConfig(receive_budget=100_000))
    link.run(5.0, heartbeat=3.0)
    assert link.window.size == max(link.sizes) == WINDOW + 100_000
    assert link.budget.left == 0


def test_without_a_round_trip_nothing_grows() -> None:
    window, budget = ReceiveWindow(), Budget(PLENTY)
    for step in range(100):
        window.available -= WINDOW // 2
        assert consume(window, WINDOW // 2, step * 0.001, budget) == WINDOW // 2
    assert window.size == WINDOW


@pytest.mark.parametrize("heartbeat", [3.0, None], ids=["heartbeat", "echo_alone"])
@pytest.mark.parametrize("rate", [50_000, 300_000, 500_000, 2_000_000])
def test_a_slow_reader_does_not_make_the_window_grow_past_its_own_need(rate: int, heartbeat: float | None) -> None:
    """Not at all while it consumes less than half a window each round trip, nor past four times what it does."""
    link = Link(rtt=RTT, reader=lambda now, unread: int(rate * STEP), config=PLENTY)
    link.run(60.0, heartbeat=heartbeat)
    assert link.delivered > 50 * rate
    assert link.window.size <= max(WINDOW, 4 * rate * RTT)


@dataclass
class Bursts:
    """Reads nothing for a while, then all of it at once."""

    pause: float
    last: float = field(default=0.0)

    def __call__(self, now: float, unread: int) -> int:
        if now - self.last < self.pause:
            return 0
        self.last = now
        return unread


@pytest.mark.parametrize("heartbeat", [3.0, None], ids=["heartbeat", "echo_alone"])
@pytest.mark.parametrize("pause", [0.5, 2.0])
def test_data_that_piled_up_and_is_read_in_a_burst_does_not_make_it_grow(pause: float, heartbeat: float | None) -> None:
    link = Link(rtt=RTT, reader=Bursts(pause), config=PLENTY)
    link.run(30.0, heartbeat=heartbeat)
    assert link.sizes == [WINDOW]


@pytest.mark.parametrize("chunk", [1, 1000, 16383])
def test_data_that_piled_up_and_is_read_in_pieces_does_not_make_it_grow(chunk: int) -> None:
    window, budget = ReceiveWindow(), Budget(PLENTY)
    budget.rtt.sample(RTT, 0.0)
    for burst in range(5):
        start = burst * 10.0
        window.available -= WINDOW
        window.arrived(WINDOW, True, start, budget.rtt)
        unread = WINDOW
        while unread:
            count = min(chunk, unread)
            consume(window, count, start + 9.0, budget)
            unread -= count
        window.available = WINDOW
    assert window.size == WINDOW


@pytest.mark.parametrize("seconds", [8.0, 60.0])
@pytest.mark.parametrize("heartbeat", [3.0, None], ids=["heartbeat", "echo_alone"])
@pytest.mark.parametrize("rate", [1_000_000, 2_000_000, 10_000_000])
def test_a_window_stops_at_two_to_four_times_what_the_link_holds(
    rate: int, heartbeat: float | None, seconds: float
) -> None:
    link = Link(rtt=RTT, rate=rate, config=PLENTY)
    link.run(seconds, heartbeat=heartbeat)
    assert 2 * rate * RTT <= link.window.size <= 4 * rate * RTT
    assert link.delivered > 0.8 * rate * seconds * (1 - 2 / seconds)


def test_a_link_that_holds_less_than_half_a_window_is_left_alone() -> None:
    link = Link(rtt=RTT, rate=200_000, config=PLENTY)
    link.run(8.0, heartbeat=3.0)
    assert link.sizes == [WINDOW]


# ---- the budget ----


def test_windows_share_one_budget_and_give_back_what_they_took() -> None:
    budget = Budget(SessionConfig(receive_budget=3 * WINDOW + 1000))
    first, second = ReceiveWindow(), ReceiveWindow()
    budget.rtt.sample(RTT, 0.0)
    for window in (first, second):
        window.arrived(WINDOW, True, 0.0, budget.rtt)
    assert consume(first, WINDOW, RTT, budget) == 4 * WINDOW
    assert consume(second, WINDOW, RTT, budget) == WINDOW + 1000
    assert (first.size, second.size, budget.left) == (4 * WINDOW, WINDOW + 1000, 0)
    first.shrink(budget)
    assert (first.size, budget.left) == (WINDOW, 3 * WINDOW)
    second.shrink(budget)
    second.shrink(budget)
    assert budget.left == 3 * WINDOW + 1000


@pytest.mark.parametrize("ending", ["reset by us", "reset by the peer", "both finish", "both finish, data unread"])
def test_the_budget_comes_back_when_the_stream_is_forgotten(client: bool, ending: str) -> None:
    side = Side(client)
    side.core.sample_rtt(RTT)
    assert (side.core.budget.rtt.best, side.core.budget.rtt.latest) == (RTT, RTT)
    stream = side.accept()
    side.receive(*(wire.data(stream.id, bytes(16000)) for _ in range(4)))
    side.now = RTT
    while stream.incoming.buffered:
        side.take(stream)
    assert stream.incoming.size == 2 * WINDOW
    assert side.core.counters.largest_window == 2 * WINDOW
    start = side.config.receive_budget
    assert side.core.budget.left == start - WINDOW

    match ending:
        case "reset by us":
            side.core.reset(stream, 7)
        case "reset by the peer":
            side.receive(wire.rst(stream.id, 7))
        case "both finish":
            side.core.finish(stream)
            side.receive(wire.data(stream.id, fin=True))
        case _:
            side.core.finish(stream)
            side.receive(wire.data(stream.id, b"unread", fin=True))
            assert side.core.budget.left == start - WINDOW  # the memory is still in use
            side.take(stream, 5)
            assert side.core.budget.left == start - WINDOW
            side.take(stream)
    assert side.core.budget.left == start


def test_closing_a_forgotten_stream_gives_its_budget_back(client: bool) -> None:
    side = Side(client)
    side.core.sample_rtt(RTT)
    stream = side.accept()
    side.receive(*(wire.data(stream.id, bytes(16000)) for _ in range(4)))
    side.now = RTT
    side.take_all(stream)
    side.core.finish(stream)
    side.receive(wire.data(stream.id, b"unread", fin=True))
    side.core.close(stream)
    assert side.core.budget.left == side.config.receive_budget


# ---- the round trip ----


def test_there_is_no_round_trip_before_the_first_sample() -> None:
    rtt = RoundTrip()
    assert (rtt.best, rtt.latest) == (None, None)


def test_the_smallest_sample_counts() -> None:
    rtt = RoundTrip()
    for now, sample in enumerate([0.3, 0.1, 0.2]):
        rtt.sample(sample, float(now))
    assert (rtt.best, rtt.latest) == (0.1, 0.2)


def test_a_longer_way_is_believed_after_two_epochs() -> None:
    rtt = RoundTrip()
    rtt.sample(0.1, 0.0)
    now = 1.0
    while now < RTT_EPOCH:
        rtt.sample(0.5, now)
        now += 1.0
    assert rtt.best == 0.1
    while now < 2 * RTT_EPOCH:
        rtt.sample(0.5, now)
        assert rtt.best == 0.1  # of the epoch before
        now += 1.0
    rtt.sample(0.5, now)
    assert rtt.best == 0.5


def test_a_shorter_way_is_believed_at_once() -> None:
    rtt = RoundTrip()
    rtt.sample(0.5, 0.0)
    rtt.sample(0.1, 5.0)
    assert rtt.best == 0.1


def test_a_round_trip_from_long_ago_is_not_believed() -> None:
    """The smallest of the last one to two epochs; the session may have been idle for an hour."""
    rtt = RoundTrip()
    rtt.sample(0.1, 0.0)
    rtt.sample(0.5, 360 * RTT_EPOCH)
    assert rtt.best == 0.5


def test_a_window_update_and_what_it_lets_through_measure_the_round_trip() -> None:
    rtt = RoundTrip()
    window, budget = ReceiveWindow(), Budget(PLENTY)
    window.available = 0
    window.arrived(WINDOW, True, 0.0, rtt)
    consume(window, WINDOW, 1.0, budget)
    window.arrived(1, True, 1.25, rtt)
    assert rtt.best == 0.25
    window.arrived(1, True, 9.0, rtt)  # no update since: it measures nothing
    assert rtt.latest == 0.25


def test_bytes_within_the_old_limit_measure_nothing() -> None:
    rtt = RoundTrip()
    window, budget = ReceiveWindow(), Budget(PLENTY)
    window.available -= 40_000
    window.arrived(40_000, True, 0.0, rtt)
    consume(window, 40_000, 1.0, budget)
    window.arrived(WINDOW - 40_000, True, 1.001, rtt)  # was on its way
    assert rtt.best is None
    window.arrived(1, False, 1.3, rtt)
    assert rtt.best == pytest.approx(0.3)


# ---- updates of a large window ----

EXACT = 0.125
"""A round trip, in seconds, whose sums are exact."""


def arrive(window: ReceiveWindow, count: int, now: float, budget: Budget) -> None:
    """Bytes of the peer, which has window for them; nothing was unread."""
    window.available -= count
    assert window.available >= 0
    window.arrived(count, True, now, budget.rtt)


def grown(size: int) -> tuple[ReceiveWindow, Budget, float]:
    """A window that has come to `size` in steps of a round trip, and the time then. All that came was given back."""
    window, budget = ReceiveWindow(), Budget(PLENTY)
    budget.rtt.sample(EXACT, 0.0)
    now = 0.0
    for _ in range(4):
        if window.size < size:
            count = window.available
            arrive(window, count, now + EXACT, budget)
            now += 2 * EXACT
            consume(window, count, now, budget)
    assert window.size == window.available == size
    return window, budget, now


@pytest.mark.parametrize(
    ("size", "step"),
    [
        (4 * WINDOW, 2 * WINDOW),  # half: 256 KiB would leave the peer nothing
        (MIB, MIB // 4),
        (4 * MIB, MIB // 2),
        (16 * MIB, 2 * MIB),
    ],
)
def test_a_large_window_is_given_back_in_pieces_of_256_kib_or_an_eighth(size: int, step: int) -> None:
    window, budget, now = grown(size)
    budget.max_window = size  # no more growth
    arrive(window, window.available, now, budget)
    given, taken = [], 0
    while taken < size:
        taken += 4096
        if increment := consume(window, 4096, now, budget):
            given.append(increment)
    assert given == [step] * (size // step)
    assert window.available == size


# ---- what counts after a growth ----


def test_a_measurement_begins_with_the_first_byte_that_only_the_growth_allowed() -> None:
    """However late it comes: the peer may have had nothing to send, or the update a long way."""
    window, budget, now = grown(4 * WINDOW)
    now += 3.0
    arrive(window, 1000, now, budget)
    arrive(window, 4 * WINDOW - 1000, now, budget)
    assert consume(window, 4 * WINDOW, now + EXACT, budget) == (4 + 12) * WINDOW
    assert window.size == 16 * WINDOW


def test_what_was_sent_before_the_peer_knew_of_a_growth_does_not_count() -> None:
    window, budget, now = grown(4 * WINDOW)
    now += 3.0
    arrive(window, 2 * WINDOW, now, budget)
    assert consume(window, 2 * WINDOW, now + EXACT, budget) == (2 + 4) * WINDOW
    assert window.size == 8 * WINDOW
    arrive(window, 2 * WINDOW, now + 1.5 * EXACT, budget)  # was on its way
    assert consume(window, 2 * WINDOW, now + 1.5 * EXACT, budget) == 2 * WINDOW

    start = now + 2 * EXACT
    arrive(window, 6 * WINDOW, start, budget)
    # With what came before, it would be all of the window, and double twice.
    assert consume(window, 6 * WINDOW, start + EXACT, budget) == (6 + 8) * WINDOW
    assert window.size == 16 * WINDOW


def test_what_was_consumed_and_not_given_back_before_a_measurement_does_not_count_either() -> None:
    window, budget, now = grown(4 * WINDOW)
    now += 3.0
    arrive(window, 4 * WINDOW, now, budget)
    assert consume(window, 2 * WINDOW, now + EXACT, budget) == (2 + 4) * WINDOW
    assert consume(window, 2 * WINDOW - 1, now + 1.5 * EXACT, budget) == 0
    start = now + 2 * EXACT
    arrive(window, 6 * WINDOW, start, budget)
    assert consume(window, 3 * WINDOW, start + EXACT, budget) == 5 * WINDOW - 1  # of which 3: less than half
    assert window.size == 8 * WINDOW


# ---- the least round trip ----


@pytest.mark.parametrize(
    ("rtt", "seconds", "size"),
    [
        (0.00005, 0.001, 4 * WINDOW),  # all of it in a millisecond
        (0.00005, 0.002, 2 * WINDOW),  # half of it
        (0.00005, 0.003, WINDOW),
        (0.00005, 0.0001, 4 * WINDOW),  # as if it had taken a millisecond
        (REACTION, 0.002, 2 * WINDOW),
        (0.002, 0.002, 4 * WINDOW),  # longer than that: the round trip counts
        (0.002, 0.004, 2 * WINDOW),
        (0.002, 0.006, WINDOW),
    ],
)
def test_a_window_is_sized_for_a_millisecond_at_least(rtt: float, seconds: float, size: int) -> None:
    window, budget = ReceiveWindow(), Budget(PLENTY)
    budget.rtt.sample(rtt, 0.0)
    arrive(window, WINDOW, 0.0, budget)
    consume(window, WINDOW, seconds, budget)
    assert window.size == size


@pytest.mark.parametrize("first", [40_000, 60_000, 65_500])
def test_an_early_update_comes_once(first: int) -> None:
    """The rest of the old window is asked for when it doubles, and only then: else each read would be answered."""
    window, budget = ReceiveWindow(), Budget(PLENTY)
    budget.rtt.sample(RTT, 0.0)
    window.available -= first
    window.arrived(first, True, 0.0, budget.rtt)
    assert consume(window, first, 0.01, budget) == first + WINDOW
    updates = 0
    for step in range(500):
        window.available -= 100
        window.arrived(100, True, 1.0 + step, budget.rtt)
        updates += consume(window, 100, 1.0 + step, budget) > 0
    assert updates <= 2

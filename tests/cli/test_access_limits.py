"""How fast bytes flow, and how often a wrong token may be tried, on a clock that the tests turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.access import TokenBucket, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# ---- TokenBucket ----


def test_a_burst_passes_at_once_and_what_follows_waits() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock)
    assert bucket.take(100) == 0.0
    assert bucket.take(50) == 0.5
    clock.now += 0.5
    assert bucket.take(0) == 0.0
    assert bucket.take(10) == pytest.approx(0.1)


def test_a_piece_larger_than_the_burst_is_only_slowed() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock, burst=10)
    assert bucket.take(1010) == 10.0
    clock.now += 10
    assert bucket.take(0) == 0.0


def test_a_rest_fills_no_more_than_the_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock, burst=10)
    clock.now += 1e6
    assert bucket.take(10) == 0.0
    assert bucket.take(100) == 1.0


def test_a_clock_that_goes_back_costs_nothing() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock, burst=0)
    assert bucket.take(100) == 1.0
    clock.now -= 50
    assert bucket.take(0) == 1.0
    clock.now += 1
    assert bucket.take(0) == 0.0


@pytest.mark.parametrize(("rate", "burst"), [(0, None), (-1, None), (1, -1)])
def test_a_bucket_needs_a_rate(rate: float, burst: float | None) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        TokenBucket(rate, Clock(), burst)


def test_bytes_cannot_be_given_back() -> None:
    with pytest.raises(ValueError, match="given back"):
        TokenBucket(1, Clock()).take(-1)


@given(st.lists(st.integers(1, 10_000), min_size=1), st.integers(1, 1000), st.integers(0, 1000))
def test_takers_who_wait_keep_to_the_rate(sizes: list[int], rate: int, burst: int) -> None:
    clock = Clock()
    start = clock.now
    bucket = TokenBucket(rate, clock, burst)
    for size in sizes:
        clock.now += bucket.take(size)
    assert clock.now - start == pytest.approx(max(0.0, (sum(sizes) - burst) / rate), rel=1e-6, abs=1e-6)


# ---- What counts as one address ----


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("/run/muxpy.sock", "/run/muxpy.sock", True),
    ],
)
def test_whose_connections_count_together(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same

"""A token bucket of bytes, on a clock that the tests turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.relay._rate import ByteBucket


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_what_follows_waits() -> None:
    clock = Clock()
    bucket = ByteBucket(100, clock)
    bucket.spend(100)
    assert bucket.debt == 0.0
    bucket.spend(50)
    assert bucket.debt == 0.5
    clock.now += 0.5
    assert bucket.debt == 0.0
    bucket.spend(10)
    assert bucket.debt == pytest.approx(0.1)


def test_a_piece_larger_than_the_burst_is_only_slowed() -> None:
    clock = Clock()
    bucket = ByteBucket(100, clock)
    bucket.spend(1100)
    assert bucket.debt == 10.0
    clock.now += 10
    assert bucket.debt == 0.0


def test_a_rest_fills_no_more_than_the_burst() -> None:
    clock = Clock()
    bucket = ByteBucket(100, clock, full=False)
    assert not bucket.full
    clock.now += 1e6
    assert bucket.full
    bucket.spend(200)
    assert bucket.debt == 1.0


def test_a_clock_that_goes_back_costs_nothing() -> None:
    clock = Clock()
    bucket = ByteBucket(100, clock, full=False)
    bucket.spend(100)
    assert bucket.debt == 1.0
    clock.now -= 50
    assert bucket.debt == 1.0
    clock.now += 1
    assert bucket.debt == 0.0


@pytest.mark.parametrize("rate", [0, -1])
def test_a_bucket_needs_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ByteBucket(rate, Clock())


@given(st.lists(st.integers(1, 10_000), min_size=1), st.integers(1, 1000), st.booleans())
def test_those_who_wait_keep_to_the_rate(sizes: list[int], rate: int, full: bool) -> None:
    clock = Clock()
    start = clock.now
    bucket = ByteBucket(rate, clock, full=full)
    for size in sizes:
        bucket.spend(size)
        clock.now += bucket.debt
    burst = rate if full else 0
    assert clock.now - start == pytest.approx(max(0.0, (sum(sizes) - burst) / rate), rel=1e-6, abs=1e-6)

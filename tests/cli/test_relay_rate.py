"""Connections that share a rate take turns, on a clock that the tests turn."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from muxpy_cli.relay import Rate

RATE = 100_000
TURN = RATE // 10


class Carrier:
    """Carries as much as it may, all the time, and notes when."""

    def __init__(self, rate: Rate, at_most: int = TURN) -> None:
        self.rate = rate
        self.at_most = at_most
        self.total = 0
        self.stopped = False

    def go(self) -> None:
        while not self.stopped and (most := self.rate.allow(self.go)):
            count = min(most, self.at_most)
            self.total += count
            self.rate.carried(count)

    def stop(self) -> None:
        self.stopped = True
        self.rate.withdraw(self.go)


async def test_a_rate_holds_however_many_there_are(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    carriers = [Carrier(rate) for _ in range(500)]
    for one in carriers:
        one.go()
    for second in range(1, 30):
        await trio.sleep(1)
        total = sum(one.total for one in carriers)
        assert RATE * second < total <= RATE * (second + 1) + TURN


async def test_connections_that_come_and_go_carry_no_more(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    total = 0
    begun = trio.current_time()
    for _ in range(300):
        crowd = [Carrier(rate) for _ in range(20)]
        for one in crowd:
            one.go()
        await trio.sleep(0.05)
        for one in crowd:
            one.stop()
        total += sum(one.total for one in crowd)
    assert total <= RATE * (trio.current_time() - begun + 1) + TURN


async def test_turns_go_round(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    carriers = [Carrier(rate) for _ in range(5)]
    for one in carriers:
        one.go()
    await trio.sleep(20)
    late = Carrier(rate)
    late.go()
    before = [one.total for one in carriers]
    await trio.sleep(6)
    shares = [late.total, *(one.total - then for one, then in zip(carriers, before, strict=True))]
    assert max(shares) - min(shares) <= TURN


async def test_a_connection_that_comes_during_a_debt_waits(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    rate.carried(3 * RATE)
    begun = trio.current_time()
    await rate.take(1)
    assert trio.current_time() - begun == pytest.approx(2.0)


async def test_nobody_overtakes_those_that_wait(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    rate.carried(2 * RATE)
    second, newcomer = Carrier(rate), Carrier(rate)
    asked = trio.Event()

    def first() -> None:
        newcomer.go()  # the bucket is not in debt now, but the second one waits
        asked.set()

    assert not rate.allow(first)
    second.go()
    await asked.wait()
    assert not newcomer.total
    await trio.sleep(0.01)
    assert (second.total, newcomer.total) == (TURN, 0)


async def test_leaving_the_line_makes_room(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    rate.carried(2 * RATE)
    one, other = Carrier(rate), Carrier(rate, at_most=1)
    one.go()
    other.go()
    one.stop()
    await trio.sleep(1.1)
    assert (one.total, other.total > 0) == (0, True)


async def test_each_within_another_rate_gets_the_same(autojump_clock: MockClock) -> None:
    """A session with many connections gets no more of its user's rate than one with a single connection."""
    user = Rate(RATE)
    many, single = Rate(10 * RATE, user, full=False), Rate(10 * RATE, user, full=False)
    crowd, one = [Carrier(many) for _ in range(50)], Carrier(single)
    for carrier in [*crowd, one]:
        carrier.go()
    await trio.sleep(20)
    of_the_crowd = sum(carrier.total for carrier in crowd)
    assert abs(of_the_crowd - one.total) <= RATE + 2 * TURN  # the second's worth went to who came first
    assert of_the_crowd + one.total <= 21 * RATE + TURN


@pytest.mark.parametrize(("sessions", "of_each"), [(2, RATE / 4), (8, RATE / 8)])
async def test_the_narrower_of_two_rates_holds(autojump_clock: MockClock, sessions: int, of_each: float) -> None:
    user = Rate(RATE)
    carriers = [Carrier(Rate(RATE / 4, user, full=False)) for _ in range(sessions)]
    for one in carriers:
        one.go()
    await trio.sleep(20)
    before = [one.total for one in carriers]
    await trio.sleep(20)
    for one, then in zip(carriers, before, strict=True):
        assert one.total - then == pytest.approx(20 * of_each, abs=2 * TURN)


async def test_an_empty_one_gives_nothing_for_coming_again(autojump_clock: MockClock) -> None:
    total = 0
    for _ in range(100):
        carrier = Carrier(Rate(RATE, full=False))
        carrier.go()
        await trio.sleep(0.2)
        carrier.stop()
        total += carrier.total
    assert total <= 20 * (RATE + 5 * TURN)


async def test_another_rate_holds_for_those_that_wait_as_well(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    carrier = Carrier(rate)
    carrier.go()
    await trio.sleep(5)
    rate.change(2 * RATE)
    before = carrier.total
    await trio.sleep(10)
    assert 19 * RATE <= carrier.total - before <= 20 * RATE + 2 * TURN
    rate.change(2 * RATE)  # no news: it keeps what it remembers
    await trio.sleep(10)
    assert carrier.total - before <= 40 * RATE + 2 * TURN


async def test_a_debt_at_the_old_rate_is_forgotten(autojump_clock: MockClock) -> None:
    rate = Rate(RATE)
    rate.carried(60 * RATE)
    async with trio.open_nursery() as nursery:
        begun = trio.current_time()
        nursery.start_soon(rate.take, TURN)
        await wait_all_tasks_blocked()
        nursery.start_soon(rate.take, 1)
        await trio.sleep(1)
        rate.change(2 * RATE)
    assert trio.current_time() - begun == pytest.approx(1 + TURN / (2 * RATE))


async def test_nothing_runs_while_nobody_waits(autojump_clock: MockClock) -> None:
    tasks = len(_system_tasks())
    rate = Rate(RATE)
    await rate.take(2 * RATE)
    assert len(_system_tasks()) == tasks
    await rate.take(1)
    await wait_all_tasks_blocked()
    assert len(_system_tasks()) == tasks


def _system_tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return [task for nursery in root.child_nurseries for task in nursery.child_tasks]

"""Which connections get a place at the door, wait, or have to go: counted, on a clock that only the tests move."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from muxpy_cli.server._waiting import LINE, LINE_EACH, PATIENCE, PLACES, PLACES_EACH, Caller, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TIMEOUT = 10.0


class Door:
    """A Waiting and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting = Waiting[Caller](lambda: self.now)
        self.dropped: list[Caller] = []

    def come(self, network: str, *, speaks: bool = True) -> Caller:
        """A newcomer, that has said something unless it had to go."""
        caller = Caller(network, self.now + TIMEOUT)
        dropped = self.waiting.arrive(caller)
        if dropped is not None:
            self.dropped.append(dropped)
        if speaks and dropped is not caller:
            self.waiting.speak(caller)
        return caller

    def admitted(self) -> list[Caller]:
        """All who get a place now."""
        return list(iter(self.waiting.admit, None))

    def overstayed(self) -> list[Caller]:
        return list(iter(self.waiting.overstayed, None))


@pytest.fixture
def door() -> Iterator[Door]:
    state = random.getstate()
    random.seed(7)
    yield Door()
    random.setstate(state)


def networks(callers: Iterable[Caller]) -> list[str]:
    return [caller.network for caller in callers]


def test_whoever_says_nothing_has_no_place_and_is_late_at_the_deadline(door: Door) -> None:
    silent = door.come("a", speaks=False)
    assert door.admitted() == []
    assert door.waiting.look_again() == silent.deadline
    door.now += TIMEOUT - 0.01
    assert door.waiting.late() is None
    door.now += 0.01
    assert door.waiting.late() is silent
    assert door.waiting.late() is None
    assert len(door.waiting) == 0
    assert door.waiting.look_again() == math.inf


def test_whoever_speaks_has_a_place_in_the_order_of_speaking(door: Door) -> None:
    first, second = door.come("a", speaks=False), door.come("a", speaks=False)
    door.waiting.speak(second)
    door.waiting.speak(first)
    assert door.admitted() == [second, first]
    door.now += TIMEOUT
    assert door.waiting.late() is None  # their time limit is their visit's now
    assert len(door.waiting) == 2
    for caller in (first, second, second):
        door.waiting.leave(caller)
    assert len(door.waiting) == 0


def test_a_network_has_so_many_places_and_holds_up_nobody_else(door: Door) -> None:
    many = [door.come("a") for _ in range(3 * PLACES_EACH)]
    other = door.come("b")
    admitted = door.admitted()
    assert len(admitted) == PLACES_EACH + 1
    assert admitted.index(other) == 1  # the second in turn, whoever came before
    door.waiting.leave(many[0])
    assert door.admitted() == [many[PLACES_EACH]]


def test_networks_take_turns(door: Door) -> None:
    for network in "aaabbc":
        door.come(network)
    assert networks(door.admitted()) == ["a", "b", "c", "a", "b", "a"]


def test_all_networks_together_have_so_many_places(door: Door) -> None:
    for number in range(2 * PLACES):
        door.come(f"network {number}")
    admitted = door.admitted()
    assert networks(admitted) == [f"network {number}" for number in range(PLACES)]
    door.waiting.leave(admitted[5])
    assert networks(door.admitted()) == [f"network {PLACES}"]


def test_a_place_is_kept_while_nobody_waits_for_it_and_for_a_moment_if_somebody_does(door: Door) -> None:
    first = [door.come("a") for _ in range(PLACES_EACH)]
    door.admitted()
    door.now += PATIENCE / 2
    assert door.overstayed() == []
    assert door.waiting.look_again() == math.inf
    one_more = door.come("a")
    assert door.admitted() == door.overstayed() == []
    assert door.waiting.look_again() == first[0].since + PATIENCE
    door.now = door.waiting.look_again()
    assert door.waiting.overstayed() is first[0]
    assert door.admitted() == [one_more]
    assert door.overstayed() == []  # nobody waits any more


def test_silent_ones_in_their_places_let_a_crowd_of_their_network_through(door: Door) -> None:
    """A place comes free each time that somebody has held it for too long; honest ones give theirs back immediately."""
    holders = [door.come("nat") for _ in range(PLACES_EACH)]
    assert door.admitted() == holders
    honest = [door.come("nat") for _ in range(1000)]
    door.now += PATIENCE
    came_in = []
    while door.waiting.overstayed() is not None:
        for caller in iter(door.waiting.admit, None):
            came_in.append(caller)
            door.waiting.leave(caller)
    assert came_in == honest
    assert door.dropped == []


def test_networks_that_hold_all_places_give_way_immediately_to_one_that_has_none(door: Door) -> None:
    crowds = [f"crowd {number}" for number in range(PLACES // PLACES_EACH)]
    holders = [door.come(network) for _ in range(PLACES_EACH) for network in crowds]
    assert door.admitted() == holders
    newcomer = door.come("elsewhere")
    assert door.admitted() == []
    gone = door.waiting.overstayed()
    assert gone is not None
    assert gone.network in crowds
    assert door.admitted() == [newcomer]
    another = door.come("elsewhere")
    assert door.waiting.overstayed() is not None
    assert door.admitted() == [another]


def test_where_places_are_shared_fairly_nobody_has_to_hurry_more_than_others(door: Door) -> None:
    holders = [door.come(f"network {number}") for number in range(PLACES)]
    door.admitted()
    door.come("elsewhere")
    assert door.overstayed() == []
    door.now += PATIENCE
    assert door.waiting.overstayed() in holders


def test_of_a_full_line_those_go_who_have_said_nothing_and_at_random(door: Door) -> None:
    """Whoever speaks is not driven out by any number of silent connections from its own network."""
    for _ in range(PLACES_EACH):
        door.come("a")
    door.admitted()
    honest = [door.come("a") for _ in range(20)]
    silent = [door.come("a", speaks=False) for _ in range(5 * LINE_EACH)]
    assert len(door.dropped) == 20 + 4 * LINE_EACH
    assert not set(honest) & set(door.dropped)
    places = sorted(silent.index(caller) for caller in door.dropped)
    assert places[0] < LINE_EACH  # neither only the newest
    assert set(silent[-LINE_EACH:]) & set(door.dropped)  # nor only the oldest
    assert set(silent[:LINE_EACH]) - set(door.dropped)


def test_of_a_full_line_of_those_who_have_spoken_any_may_go(door: Door) -> None:
    everybody = [door.come("a") for _ in range(4 * LINE_EACH)]
    gone = {everybody.index(caller) for caller in door.dropped}
    assert len(gone) == 3 * LINE_EACH
    quarters = [len([number for number in gone if number // LINE_EACH == quarter]) for quarter in range(4)]
    assert max(quarters) < LINE_EACH
    assert min(quarters) > LINE_EACH // 3


def test_the_network_with_the_longest_line_makes_room_for_others(door: Door) -> None:
    few = [door.come(f"few {number}", speaks=False) for number in range(LINE // 2 - 1)]
    for _ in range(LINE_EACH):
        door.come("crowd")
    assert len(door.dropped) == 0
    for number in range(200):
        door.come(f"more {number}", speaks=False)
    assert networks(door.dropped).count("crowd") > 150  # a sample is asked, so it need not be all of them
    assert len(set(few) & set(door.dropped)) < 50


def test_nothing_is_remembered_of_those_who_have_gone(door: Door) -> None:
    for number in range(100):
        door.come(f"network {number}", speaks=bool(number % 2))
    for caller in door.admitted():
        door.waiting.leave(caller)
    door.now += TIMEOUT
    assert len(list(iter(door.waiting.late, None))) == 50
    assert (len(door.waiting), list(door.waiting)) == (0, [])
    assert door.waiting.look_again() == math.inf

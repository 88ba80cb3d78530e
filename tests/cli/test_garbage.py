"""The cycle collector comes often, and looks at little."""

from __future__ import annotations

import gc
import weakref
from contextlib import ExitStack

import pytest
import trio
import trio.lowlevel

from muxpy_cli import _garbage
from muxpy_cli._garbage import FULL, MANY, Garbage


class Knot:
    """Garbage for the cycle collector."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def every_pass_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_garbage, "INTERVAL", 0)


async def passes(garbage: Garbage, count: int) -> None:
    """In which many sessions end."""
    for _ in range(count):
        for _ in range(MANY):
            garbage.session_ends()
        await trio.lowlevel.checkpoint()


def looked_at(one: object) -> bool:
    return any(other is one for other in gc.get_objects())


def not_left_out() -> int:
    return len(gc.get_objects())


async def test_what_was_there_before_is_left_out_until_the_end() -> None:
    with Garbage():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("ends_first", ["the first", "the second"])
async def test_two_servers_in_one_process_leave_nothing_behind(ends_first: str) -> None:
    before, callbacks = gc.get_threshold(), list(gc.callbacks)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(Garbage())
        second.enter_context(Garbage())
        ending, other = (first, second) if ends_first == "the first" else (second, first)
        ending.close()
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > 0
        other.close()
    assert gc.get_threshold() == before
    assert gc.callbacks == callbacks
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()


async def test_one_that_trio_has_removed_for_an_error_leaves_nothing_behind() -> None:
    before = gc.get_threshold()
    with Garbage() as garbage:
        trio.lowlevel.remove_instrument(garbage)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_a_few_sessions_that_end_make_no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[int] = []
    with Garbage() as garbage:
        monkeypatch.setattr(gc, "collect", collections.append)
        garbage.session_ends()
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert not collections
        await passes(garbage, 1)
        assert collections
        monkeypatch.undo()


async def test_few_survivors_are_looked_at_again() -> None:
    with Garbage() as garbage:
        knots = [Knot() for _ in range(100)]
        left = weakref.ref(knots[0])
        await passes(garbage, 2 * FULL)
        assert looked_at(knots[0])
        knots.clear()
        await passes(garbage, 2 * FULL)
        assert left() is None


async def test_many_survivors_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_garbage, "FEW", 1_000)
    with Garbage() as garbage:
        knots = [Knot() for _ in range(2_000)]
        left = weakref.ref(knots[0])
        assert looked_at(knots[0])
        await passes(garbage, 2 * FULL)
        assert not looked_at(knots[0])
        knots.clear()
        gc.collect()
        assert left() is not None
    gc.collect()
    assert left() is None


async def test_old_objects_that_are_freed_do_not_keep_the_collector_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_garbage, "FEW", 1_000)
    old = [[number] for number in range(20_000)]
    new: list[list[int]] = []
    with Garbage() as garbage:
        few = not_left_out()
        while old:
            for _ in range(100):
                old.pop()
                new.append([len(new)])
            await passes(garbage, 1)
            assert not_left_out() < few + 3_000


async def test_a_pause_leaves_out_what_it_has_made() -> None:
    with Garbage() as garbage:
        with garbage.paused():
            assert not gc.isenabled()
            made = Knot()
            assert looked_at(made)
        assert gc.isenabled()
        assert not looked_at(made)

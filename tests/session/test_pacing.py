"""When the writer writes, and how much, without a session: what happens, and what follows."""

from __future__ import annotations

import pytest

from muxpy.session._pacing import BATCH_SIZE, ENOUGH_FRAMES, PATIENCE, SMALL, Pacing, Portion

SLOW = 1e-8  # seconds a byte
QUICK = 1e-10


class Setting:
    """A pacing, and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pacing = Pacing(lambda: self.now)
        self.pacing.written = self.now

    def writes_at(self, seconds_a_byte: float) -> None:
        """Many batches at that pace."""
        for _ in range(200):
            self.pacing.wrote_in(BATCH_SIZE, BATCH_SIZE * seconds_a_byte)


@pytest.fixture
def setting() -> Setting:
    return Setting()


# ---- small messages ----


@pytest.mark.parametrize(("woken", "alone"), [(0, True), (1, True), (2, False), (100, False)])
def test_who_was_woken_alone_writes_what_it_has(setting: Setting, woken: int, alone: bool) -> None:
    setting.pacing.received(woken)
    assert setting.pacing.alone is alone


def test_a_few_small_messages_wait_for_more(setting: Setting) -> None:
    assert not setting.pacing.small_goes_now(1)
    assert not setting.pacing.small_goes_now(ENOUGH_FRAMES - 1)
    assert setting.pacing.small_goes_now(ENOUGH_FRAMES)


def test_a_small_message_does_not_wait_for_long(setting: Setting) -> None:
    setting.now += PATIENCE
    assert not setting.pacing.small_goes_now(1)
    setting.now += PATIENCE / 10
    assert setting.pacing.small_goes_now(1)


def test_the_first_answer_of_several_waits_for_the_others(setting: Setting) -> None:
    setting.now += 2 * PATIENCE
    setting.pacing.received(3)
    assert not setting.pacing.small_goes_now(1)
    assert not setting.pacing.small_goes_now(2)
    setting.now += 2 * PATIENCE
    assert setting.pacing.small_goes_now(3)


def test_what_nobody_was_woken_for_does_not_wait(setting: Setting) -> None:
    setting.pacing.received(2)
    setting.pacing.small_goes_now(1)
    setting.now += 2 * PATIENCE
    assert setting.pacing.small_goes_now(1)
    assert setting.pacing.small_goes_now(1)


def test_a_cork_holds_messages_until_there_are_enough(setting: Setting) -> None:
    setting.pacing.corked = True
    setting.now += 2 * PATIENCE
    assert not setting.pacing.small_goes_now(1)
    assert setting.pacing.small_goes_now(ENOUGH_FRAMES)


def test_messages_are_a_stream_of_their_own_if_nothing_was_received_between_batches(setting: Setting) -> None:
    assert setting.pacing.streaming
    setting.pacing.received(1)
    assert not setting.pacing.streaming
    setting.pacing.caught_up()
    assert setting.pacing.streaming


# ---- larger ones ----


def test_a_large_message_goes_now_while_all_have_one_priority(setting: Setting) -> None:
    assert all(setting.pacing.large_goes_now(0) for _ in range(1000))


def test_it_is_left_to_the_scheduler_while_priorities_take_turns(setting: Setting) -> None:
    assert setting.pacing.large_goes_now(0)
    assert not any(setting.pacing.large_goes_now(number % 2 + 1) for number in range(1000))
    of_one_priority = [setting.pacing.large_goes_now(2) for _ in range(100)]
    assert of_one_priority == [False] * 63 + [True] * 37


# ---- batches ----


def test_a_batch_is_usual_until_the_way_is_fast(setting: Setting) -> None:
    assert setting.pacing.portion == Portion(BATCH_SIZE, 1, exact=True)
    setting.writes_at(SLOW)
    assert setting.pacing.portion == Portion(BATCH_SIZE, 1, exact=True)


def test_a_fast_way_has_large_batches_and_long_turns(setting: Setting) -> None:
    setting.writes_at(1e-9)
    assert setting.pacing.portion == Portion(4 * BATCH_SIZE, 4, exact=False)
    setting.writes_at(QUICK)
    assert setting.pacing.portion == Portion(4 * BATCH_SIZE, 16, exact=False)
    setting.writes_at(SLOW)
    assert setting.pacing.portion == Portion(BATCH_SIZE, 1, exact=True)


def test_with_weights_it_has_long_turns_only(setting: Setting) -> None:
    setting.writes_at(QUICK)
    setting.pacing.large_goes_now(1)
    assert setting.pacing.portion == Portion(BATCH_SIZE, 4, exact=True)
    for _ in range(64):
        setting.pacing.large_goes_now(1)
    assert setting.pacing.portion == Portion(4 * BATCH_SIZE, 16, exact=False)


def test_small_batches_say_nothing_about_the_pace(setting: Setting) -> None:
    for _ in range(200):
        setting.pacing.wrote_in(SMALL - 1, 0.0)
    assert setting.pacing.portion == Portion(BATCH_SIZE, 1, exact=True)

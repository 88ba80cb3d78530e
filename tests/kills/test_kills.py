"""A dozen rounds of `make kills`."""

from __future__ import annotations

import pytest

from .rounds import VICTIMS, play_round


@pytest.mark.parametrize("seed", range(12))
async def test_a_killed_end_never_looks_like_the_end_of_the_data(seed: int) -> None:
    result = await play_round(seed)
    assert not result.short, result.victim
    assert result.resets


async def test_both_ends_are_among_them() -> None:
    assert {(await play_round(seed)).victim for seed in (0, 1)} == set(VICTIMS)
